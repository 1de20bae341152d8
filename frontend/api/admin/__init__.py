"""/admin/*: the models of this server, other names for them, and its settings. Who may call them, the layer
`http.gate` decides."""
