// Records with the browser's microphone and sends the sound to the kernel: 32-bit floats, one
// channel, at the browser's own rate. Nothing is kept in the page.

const TAP = `registerProcessor("tap", class extends AudioWorkletProcessor {
  process([channels]) {
    if (channels.length) this.port.postMessage(channels[0].slice());
    return true;
  }
});`;

const WORDS = {
  NotAllowedError:
    "The browser may not use the microphone. Allow it at the sign beside the address, then press again.",
  NotFoundError:
    "The browser found no microphone. Plug one in and press again, or upload a recording.",
  NotReadableError:
    "Another program has the microphone. Close it there and press again.",
};
const INSECURE =
  "A browser gives the microphone to pages behind https only, and to those of its own machine.";
// As it was spoken: what a browser does to make calls sound better changes the voice.
const AS_SPOKEN = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

async function listen(onBlock) {
  if (!navigator.mediaDevices) throw new Error(INSECURE);
  const stream = await navigator.mediaDevices.getUserMedia({ audio: AS_SPOKEN });
  const context = new AudioContext();
  const module = URL.createObjectURL(new Blob([TAP], { type: "text/javascript" }));
  await context.audioWorklet.addModule(module);
  URL.revokeObjectURL(module);
  const tap = new AudioWorkletNode(context, "tap");
  tap.port.onmessage = (message) => onBlock(message.data, context.sampleRate);
  context.createMediaStreamSource(stream).connect(tap);
  return () => {
    tap.port.onmessage = null;
    stream.getTracks().forEach((track) => track.stop());
    context.close();
  };
}

function join(blocks) {
  const sound = new Float32Array(blocks.reduce((n, block) => n + block.length, 0));
  let place = 0;
  for (const block of blocks) {
    sound.set(block, place);
    place += block.length;
  }
  return sound;
}

function render({ model, el }) {
  const button = document.createElement("button");
  const meter = document.createElement("meter");
  const words = document.createElement("span");
  button.className = "jupyter-button widget-button";
  button.style.width = "15em";
  Object.assign(meter, { min: -60, max: 0, high: -6, value: -60, hidden: true });
  meter.title = "level";
  words.setAttribute("role", "status");
  words.style.marginLeft = "0.6em";
  el.append(button, meter, words);

  let recording = null;

  function rest(text) {
    recording = null;
    button.innerHTML = '<i class="fa fa-microphone"></i> ';
    button.append(`Speak, ${model.get("seconds")} s`);
    meter.hidden = true;
    words.textContent = text;
  }

  function finish() {
    const { blocks, rate, close } = recording;
    close?.();
    rest("with the microphone of this browser");
    if (blocks.length) model.send({ rate }, undefined, [join(blocks).buffer]);
  }

  function take(block, rate) {
    if (!recording) return;
    recording.rate = rate;
    const peak = block.reduce((high, value) => Math.max(high, Math.abs(value)), 0);
    // A microphone delivers nothing at first. One that is muted does so for ever, and is heard out.
    recording.waited += block.length;
    if (!recording.samples && !peak && recording.waited < rate) return;
    recording.blocks.push(block);
    recording.samples += block.length;
    meter.value = 20 * Math.log10(Math.max(peak, 1e-5));
    const left = model.get("seconds") - recording.samples / rate;
    words.textContent = `${Math.max(left, 0).toFixed(1)} s left`;
    if (left <= 0) finish();
  }

  button.onclick = async () => {
    if (recording) return finish(); // a second press ends early
    recording = { blocks: [], samples: 0, waited: 0, rate: 0, close: null };
    button.innerHTML = '<i class="fa fa-stop"></i> Stop';
    meter.hidden = false;
    words.textContent = "opening the microphone…";
    try {
      const close = await listen(take);
      if (recording) recording.close = close;
      else close();
    } catch (error) {
      rest(WORDS[error.name] ?? error.message);
    }
  };

  rest("with the microphone of this browser");
  return () => recording?.close?.(); // the panel was taken away
}

export default { render };
