// Dictation with the microphone.

import { alertOf, byId } from "/page/dom.js";
import { transcribe } from "/page/settings.js";

let recorder = null;

export function install() {
  byId("record").addEventListener("click", () => (recorder ? recorder.stop() : begin().catch(failed)));
}

async function begin() {
  if (!navigator.mediaDevices) throw new Error("Browsers offer the microphone only over HTTPS or on this machine.");
  const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  const parts = [];
  recorder = new MediaRecorder(stream);
  recorder.ondataavailable = ({ data }) => parts.push(data);
  recorder.onstop = () => {
    for (const track of stream.getTracks()) track.stop();
    const recording = new Blob(parts, { type: recorder.mimeType });
    recorder = null;
    show(false, "Transcribing");
    insert(recording).catch(failed).finally(() => { byId("progress").textContent = ""; });
  };
  recorder.start();
  show(true, "Recording");
}

async function insert(recording) {
  const text = await transcribe(recording, recording.type.includes("mp4") ? "dictated.mp4" : "dictated.webm");
  const prompt = byId("prompt");
  prompt.value = `${prompt.value} ${text.trim()}`.trim();
  prompt.focus();
}

function failed(error) {
  recorder = null;
  show(false, "");
  alertOf(error.name === "NotAllowedError" ? new Error("The browser does not permit the microphone.") : error);
}

function show(isRecording, text) {
  byId("record").setAttribute("aria-pressed", String(isRecording));
  byId("record").textContent = isRecording ? "Stop recording" : "Dictate";
  byId("progress").textContent = text;
}
