// Records in the browser, or has the kernel's machine record, and shows what the kernel makes of
// it. Sound goes out as 32-bit floats, one channel, at the browser's own rate; a piece is sent when
// the one before is answered. Nothing is kept in the page.

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
const MACHINE = "machine";
const PIECE_MS = 150;
const GAP = "#88888855"; // in the timeline, where nobody speaks

// A microphone: take() hands out what came in since the last time.
async function openBrowser(deviceId, limit_s, onBlock) {
  if (!navigator.mediaDevices) throw new Error(INSECURE);
  const audio = { ...AS_SPOKEN, ...(deviceId && { deviceId: { exact: deviceId } }) };
  const stream = await navigator.mediaDevices.getUserMedia({ audio });
  const context = new AudioContext();
  const module = URL.createObjectURL(new Blob([TAP], { type: "text/javascript" }));
  await context.audioWorklet.addModule(module);
  URL.revokeObjectURL(module);
  const tap = new AudioWorkletNode(context, "tap");
  const rate = context.sampleRate;
  let blocks = [], waited = 0, samples = 0;
  tap.port.onmessage = ({ data }) => {
    const peak = data.reduce((high, value) => Math.max(high, Math.abs(value)), 0);
    // A microphone delivers nothing at first. One that is muted does so for ever, and is heard out.
    waited += data.length;
    if ((!samples && !peak && waited < rate) || samples >= limit_s * rate) return;
    blocks.push(data);
    samples += data.length;
    onBlock(samples / rate, 20 * Math.log10(Math.max(peak, 1e-5)));
  };
  context.createMediaStreamSource(stream).connect(tap);
  return {
    rate,
    take() {
      const sound = join(blocks);
      blocks = [];
      return sound;
    },
    close() {
      tap.port.onmessage = null;
      stream.getTracks().forEach((track) => track.stop());
      if (context.state !== "closed") context.close();
    },
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

function add(parent, tag, properties = {}) {
  const element = Object.assign(document.createElement(tag), properties);
  parent.append(element);
  return element;
}

function render({ model, el }) {
  el.classList.add("ser-recorder");
  const row = add(el, "div", { className: "ser-row" });
  const [speak, live] = [0, 1].map(() => add(row, "button", { className: "jupyter-button" }));
  const choice = add(row, "select", { title: "which microphone" });
  const meter = add(row, "meter", { min: -60, max: 0, high: -6, title: "level" });
  const words = add(el, "div", { className: "ser-words" });
  words.setAttribute("role", "status");
  const bars = add(el, "div", { className: "ser-bars", hidden: true });
  const strip = add(el, "canvas", { height: 40, width: 900, hidden: true, title: "over time" });
  const rows = Object.entries(model.get("colors")).map(([name, color]) => {
    const bar = add(bars, "div");
    add(bar, "span", { textContent: name });
    const fill = add(bar, "i");
    fill.style.background = color;
    return { name, fill, percent: add(bar, "b") };
  });

  let session = null, timer = 0, columns = [];

  async function list() {
    const all = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
    const found = all.filter((device) => device.kind === "audioinput");
    const options = found.map((d, i) => [d.deviceId, d.label || `microphone ${i + 1}`]);
    if (!options.length && !model.get("machine")) options.push(["", "this browser"]);
    if (model.get("machine")) options.push([MACHINE, "the kernel's machine"]);
    const before = choice.value;
    choice.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
    if (options.some(([value]) => value === before)) choice.value = before;
  }

  function label(button, icon, text) {
    button.innerHTML = `<i class="fa fa-${icon}"></i> `;
    button.append(text);
  }

  function rest(text) {
    clearInterval(timer);
    session?.source?.close();
    session = null;
    label(speak, "microphone", `Speak, ${model.get("seconds")} s`);
    label(live, "comments", "Live");
    [speak, live, choice].forEach((control) => (control.disabled = false));
    meter.style.visibility = "hidden";
    bars.hidden = true;
    words.textContent = text;
  }

  function show(heard_s, level) {
    if (!session) return;
    meter.value = level;
    const left = session.limit_s - heard_s;
    if (!session.live) words.textContent = `${Math.max(left, 0).toFixed(1)} s left`;
    if (left <= 0) session.last = true;
  }

  function send() {
    const now = performance.now();
    if (!session?.source || session.waiting) return;
    if (!session.last && now - session.sent < PIECE_MS) return;
    const { source, first, last, live } = session;
    const sound = source.take();
    if (sound && !sound.length && !last) return;
    Object.assign(session, { waiting: true, first: false, sent: now });
    session.samples += sound?.length ?? 0;
    const content = { first, last, live, rate: source.rate, machine: !sound };
    model.send(content, undefined, sound ? [sound.buffer] : []);
  }

  async function start(isLive) {
    const limit_s = model.get(isLive ? "longest" : "seconds");
    const mine = { live: isLive, limit_s, first: true, last: false, sent: 0, samples: 0 };
    session = mine;
    label(isLive ? live : speak, "stop", "Stop");
    (isLive ? speak : live).disabled = choice.disabled = true;
    meter.style.visibility = "visible";
    meter.value = meter.min;
    words.textContent = "opening the microphone…";
    bars.hidden = strip.hidden = !isLive;
    columns = [];
    try {
      const machine = { take: () => null, close: () => null };
      const source =
        choice.value === MACHINE ? machine : await openBrowser(choice.value, limit_s, show);
      if (session !== mine) return source.close(); // stopped before it was open
      mine.source = source;
      timer = setInterval(send, 20);
      list(); // with permission, the browser says their names
    } catch (error) {
      rest(WORDS[error.name] ?? error.message);
    }
  }

  function press(isLive) {
    if (!session) start(isLive);
    else if (session.source) {
      session.last = true; // a second press ends early, also where the kernel is busy
      session.source.close();
    } else rest("");
  }

  function draw(answer) {
    words.textContent = answer.said;
    for (const { name, fill, percent } of rows) {
      const p = answer.probabilities[name] ?? 0;
      fill.style.width = `${60 * p}%`;
      percent.textContent = p ? `${Math.round(100 * p)}%` : "";
    }
    columns.push(model.get("colors")[answer.emotion] ?? GAP);
    // That nothing waits in a queue can be seen: what is drawn is about all that was sent.
    const { samples, source } = session;
    Object.assign(strip.dataset, { estimates: columns.length, heard: answer.heard_s });
    strip.dataset.sent = source.rate ? samples / source.rate : "";
    const canvas = strip.getContext("2d");
    const width = strip.width / Math.max(columns.length, 100);
    canvas.clearRect(0, 0, strip.width, strip.height);
    columns.forEach((color, place) => {
      canvas.fillStyle = color;
      canvas.fillRect(place * width, 0, width + 0.5, strip.height);
    });
  }

  function receive(answer) {
    if (answer.error) return rest(answer.error);
    if (!session) return;
    session.waiting = false;
    if (answer.said) draw(answer);
    if (answer.last) return rest("");
    if (!session.source.rate) show(answer.heard_s, answer.peak);
  }

  function key(event) {
    const { target } = event;
    if (event.code !== "Space" || event.repeat) return;
    if (target.closest("button, input, select, textarea, audio, [contenteditable]")) return;
    // In a notebook, Space belongs to the notebook unless the panel was clicked.
    if (document.querySelector(".jp-Notebook") && !el.parentElement.contains(target)) return;
    event.preventDefault();
    press(session?.live ?? false);
  }

  speak.onclick = () => press(false);
  live.onclick = () => press(true);
  el.tabIndex = -1;
  document.addEventListener("keydown", key);
  model.on("msg:custom", receive);
  rest("");
  list();
  return () => {
    clearInterval(timer); // the panel was taken away
    session?.source?.close();
    document.removeEventListener("keydown", key);
    model.off("msg:custom", receive);
  };
}

export default { render };
