"""Makes a language model compute two logits of the last token instead of a whole vocabulary's of each."""

from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as op

from host.model_folder import ModelFolderError

_ELEMENTWISE = {"Convert", "Add", "Multiply", "Divide", "Tanh"}  # between the last product and the logits


def keep_last_token(model: ov.Model, token_ids: list[int]) -> ov.Model:
    """Give the model an input `last_token` of shape [rows], the position of each row's last token, and logits
    of shape [rows, token_ids].

    Selecting before the last matrix product saves it for all other tokens. Raises ModelFolderError if the
    model has no logits.
    """
    logits = next((output for output in model.outputs if "logits" in output.names), None)
    if logits is None:
        raise ModelFolderError("the model has no output named logits")
    product = _last_product(logits.get_node().input_value(0).get_node())
    last = op.parameter([-1], ov.Type.i64, name="last_token")
    last.output(0).set_names({"last_token"})
    hidden = product.input_value(0)
    row = op.gather(hidden, op.unsqueeze(last, op.constant(1)), op.constant(1), batch_dims=1)
    product.input(0).replace_source_output(row.output(0))
    model.add_parameters([last])
    model.validate_nodes_and_infer_types()
    chosen = op.gather(logits.get_node().input_value(0), op.constant(np.array(token_ids)), op.constant(2))
    result = op.result(op.squeeze(chosen, op.constant(1)))
    result.output(0).set_names({"logits"})
    model.remove_result(logits.get_node())
    model.add_results([result])
    model.validate_nodes_and_infer_types()
    return model


def _last_product(node: Any) -> Any:
    while node.get_type_name() in _ELEMENTWISE:
        node = node.input_value(0).get_node()
    if node.get_type_name() != "MatMul":
        raise ModelFolderError(f"the model's logits come from an unknown operation, {node.get_type_name()}")
    return node
