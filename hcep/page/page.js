"use strict";
// Everything that comes from a clip or a model enters the page as text or as an attribute, never as HTML.

const $ = id => document.getElementById(id);
const percent = value => value == null ? "–" : `${(100 * value).toFixed(1)}\u00a0%`;
const short = value => String(Number(value.toPrecision(4))).replace("-", "−");
let facts = null, answer = null, file = null, address = null, busy = false;

function make(tag, attributes = {}, ...children) {
  const svg = ["svg", "rect", "line", "path", "text", "title"].includes(tag);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function say(id, text) {
  $(id).textContent = text;
  $(id).hidden = !text;
}

// The same rule as hcep.evaluation.thresholds.choose_thresholds: the largest score that this share of them reaches.
function thresholdOf(share) {
  const needed = Math.max(1, Math.ceil(share * facts.scores.length - 1e-9));
  return facts.scores[needed - 1];
}

function decide() {
  const share = Number($("acceptance").value) / 100, threshold = thresholdOf(share);
  $("share").textContent = `${Math.round(100 * share)}\u00a0%`;
  const row = facts.thresholds.find(one => Math.abs(one.acceptance - share) < 1e-9);
  $("on-test").textContent = row ? `The threshold is then ${short(threshold)}. Of its own test clips it accepted `
    + `${percent(row.test_tpr)} of the known and ${percent(row.test_fpr)} of the unknown ones.`
    : `The threshold is then ${short(threshold)}.`;
  let verdict = "none";
  if (answer && answer.answered) {
    const accepted = answer.score >= threshold;
    verdict = accepted ? "known" : "unknown";
    $("decision").textContent = accepted ? answer.nearest : "unknown";
    $("why").textContent = accepted ? `Its score ${short(answer.score)} reaches the threshold ${short(threshold)}.`
      : `Its score ${short(answer.score)} is below the threshold ${short(threshold)}. `
        + `The nearest known class is ${answer.nearest}.`;
  } else {
    $("decision").textContent = busy ? "reading the clip …" : file ? "no answer" : "no clip yet";
    $("why").textContent = "";
  }
  $("decision").className = `decision ${verdict}`;
  drawHistogram(threshold, verdict);
}

function drawHistogram(threshold, verdict) {
  const width = Math.max($("histogram").clientWidth, 200), height = 200, floor = 160, top = 36, bins = 40, pad = 12;
  const least = facts.scores[facts.scores.length - 1], most = facts.scores[0], span = most - least || 1;
  const score = verdict === "none" ? null : answer.score;
  // a score far outside is drawn at the edge, so that it does not squeeze the others together
  const low = score == null ? least : Math.max(Math.min(least, score), least - span / 2);
  const high = score == null ? most : Math.min(Math.max(most, score), most + span / 2);
  const range = high - low || 1;
  const x = value => pad + (width - 2 * pad) * Math.min(Math.max((value - low) / range, 0), 1);
  const all = new Array(bins).fill(0), same = new Array(bins).fill(0);
  facts.scores.forEach((value, place) => {
    const bin = Math.min(Math.floor(bins * (value - low) / range), bins - 1);
    all[bin] += 1;
    if (score != null && facts.labels[place] === answer.nearest) same[bin] += 1;
  });
  const scale = (floor - top) / Math.max(...all), step = (width - 2 * pad) / bins;
  const beaten = score == null ? 0 : facts.scores.filter(value => value <= score).length / facts.scores.length;
  const told = `Scores of ${facts.scores.length} known training clips from ${short(least)} to ${short(most)}, `
    + `threshold ${short(threshold)}` + (score == null ? "." : `, this clip ${short(score)}: `
    + `${Math.round(100 * beaten)} % of them score no higher.`);
  const drawn = make("svg", {viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": told});
  all.forEach((count, bin) => {
    for (const [many, kind] of [[count, "all"], [same[bin], "same"]]) if (many) drawn.append(make("rect",
      {class: kind, x: pad + bin * step + .5, width: step - 1, y: floor - many * scale, height: many * scale}));
  });
  drawn.append(make("line", {class: "axis", x1: pad, x2: width - pad, y1: floor, y2: floor}));
  const write = (value, y, text, kind) => {
    const place = x(value), anchor = place < 90 ? "start" : place > width - 90 ? "end" : "middle";
    const edge = {start: Math.max(place - pad, 2), middle: place, end: Math.min(place + pad, width - 2)}[anchor];
    drawn.append(make("text", {class: kind, x: edge, y, "text-anchor": anchor}, text));
  };
  drawn.append(make("line", {class: "threshold", x1: x(threshold), x2: x(threshold), y1: top - 4, y2: floor + 4}));
  write(threshold, 30, `threshold ${short(threshold)}`, "soft");
  if (score != null) {
    const arrow = score < low ? "← " : score > high ? "→ " : "";
    // not through the name of the threshold
    const near = Math.abs(x(score) - x(threshold)) < 110, begin = near ? top - 2 : 16;
    drawn.append(make("line", {class: `mark ${verdict}`, x1: x(score), x2: x(score), y1: begin, y2: floor + 4}));
    write(score, 12, `${arrow}this clip ${short(score)}`, verdict);
  }
  write(low, floor + 17, short(low), "soft");
  write(high, floor + 17, short(high), "soft");
  drawn.append(make("text", {class: "soft", x: width / 2, y: height - 6, "text-anchor": "middle"},
    "score: higher is more known"));
  $("histogram").replaceChildren(drawn);
  $("legend").replaceChildren(make("span", {class: "key all"}), `${facts.scores.length} known training clips`);
  if (score != null) $("legend").append(make("span", {class: "key same"}), `those of ${answer.nearest}; `
    + `${Math.round(100 * beaten)} % of all score no higher than this clip`);
}

function showAnswer() {
  const {frames, sound, probabilities} = answer, names = {text: "the words", vision: "the picture", audio: "the sound"};
  $("media").hidden = !frames.length && !sound;
  $("details").hidden = !answer.answered;
  $("frames").className = frames.length > 12 ? "frames many" : "frames";
  const unread = name => facts.reads.includes(name) ? "" : ", which this method does not read";
  $("frames-title").textContent = (frames.length ? `Picture: ${frames.length} frames` : "No picture") + unread("vision");
  $("frames").replaceChildren(...frames.map((source, place) =>
    make("img", {src: source, alt: `Frame ${place + 1} of ${frames.length}`})));
  $("sound-title").textContent = (sound ? `Sound: ${short(sound.seconds)} s` : "No sound") + unread("audio");
  $("sound").replaceChildren(...(sound ? [drawSound(sound)] : []));
  $("text-title").textContent = `Words${unread("text")}`;
  $("text").textContent = answer.text ? `“${answer.text}”` : "None.";
  const used = new Intl.ListFormat("en").format(answer.modalities.map(name => names[name]));
  $("used").textContent = `The answer comes from ${used}.`;
  const rows = Object.entries(probabilities).sort((one, other) => other[1] - one[1]);
  $("bars").tBodies[0].replaceChildren(...rows.map(([name, value]) => {
    const bar = make("svg", {viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true"},
      make("rect", {class: "same", width: 100 * value, height: 10}));
    return make("tr", name === answer.nearest ? {class: "nearest"} : {}, make("th", {scope: "row"}, name),
      make("td", {}, bar), make("td", {}, percent(value)));
  }));
  $("notes-block").hidden = !answer.notes.length;
  $("notes").replaceChildren(...answer.notes.map(note => make("li", {}, note)));
  say("of-stand-in", facts.warning && answer.answered ? "An answer of stand-in encoders: it says nothing about a person."
    : "");
  if (!$("media").hidden) play();
}

function drawSound(sound) {
  const width = sound.low.length, peak = Math.max(...sound.high, ...sound.low.map(Math.abs), 1e-4);
  const line = values => values.map((value, place) => `${place} ${(40 - 36 * value / peak).toFixed(2)}`);
  const outline = [...line(sound.high.map(value => value + peak / 72)),
    ...line(sound.low.map(value => value - peak / 72)).reverse()];
  return make("svg", {viewBox: `0 0 ${width} 80`, preserveAspectRatio: "none", class: "sound", role: "img",
    "aria-label": `Waveform of ${short(sound.seconds)} seconds, loudest ${percent(peak)} of full scale`},
  make("path", {class: "wave", d: `M${outline.join("L")}Z`}));
}

function reset(reading) {
  busy = reading;
  $("fields").disabled = reading;
  $("again").disabled = !file;
  decide();
}

async function ask() {
  answer = null;
  $("media").hidden = $("details").hidden = true;
  say("problem", "");
  say("of-stand-in", "");
  reset(true);
  try {
    if (file.size > facts.max_bytes) throw new Error(`the file has ${(file.size / 1e6).toFixed(1)} MB, at most `
      + `${facts.max_bytes / 1e6} MB are taken`);
    const headers = {"Content-Type": "application/octet-stream", "X-Words": encodeURIComponent($("words").value),
      "X-Words-Kind": $("kind").value};
    const reply = await fetch("answer", {method: "POST", body: file, headers});
    const found = await reply.json();
    if (!reply.ok) throw new Error(found.error);
    answer = found;
    if (!answer.answered) say("problem", `This file gives no answer. ${answer.notes.join(" ")}`);
    showAnswer();
  } catch (error) {
    say("problem", error instanceof TypeError ? "The program behind this page does not answer, or the file cannot be "
      + "read. Look at its terminal." : `No answer: ${error.message}.`);
  } finally {
    reset(false);
  }
}

function play() {
  if (address) URL.revokeObjectURL(address);
  address = URL.createObjectURL(file);
  $("player").hidden = true;  // until the browser can play it
  $("player").src = address;
}

function take(files) {
  if ($("fields").disabled || !files.length) return;
  file = files[0];
  $("name").textContent = file.name;
  $("limit").textContent = `Chosen: ${file.name}`;
  ask();
}

async function start() {
  facts = await (await fetch("facts")).json();
  const words = facts.reads.includes("text"), kinds = facts.text_kinds.join(" or ");
  document.title = `${facts.title}: a model and your clip`;
  $("title").textContent = facts.title;
  $("known").textContent = `Says which of these emotions a clip shows, or that it shows none of them: `
    + `${facts.classes.join(", ")}.`;
  say("warning", facts.warning);
  $("limit").textContent = `At most ${facts.max_bytes / 1e6} MB.`;
  $("words").maxLength = facts.max_words;
  $("words-row").hidden = $("again").hidden = !words;
  if (facts.text_kinds.length) $("kind").value = facts.text_kinds[0];
  $("words-help").textContent = !words ? "This method reads no words." : !kinds ? "The model was trained without words."
    : `The model was trained with words of the kind ${kinds}.`;
  $("acceptance").value = Math.round(100 * facts.acceptance);
  const rows = [["Run", facts.run], ["Trained on", facts.datasets.join(", ")], ["A clip is", facts.clip],
    ["Encoders", facts.encoder],
    ["Tested on", `${facts.tested.n_known} known and ${facts.tested.n_unknown} unknown clips of ${facts.tested.n_groups} `
      + `groups, such as speakers; unknown were ${facts.unknown_classes.join(", ")}. No other corpus, no recordings in `
      + "the wild."],
    ...facts.metrics.map(one => [one.name, `${percent(one.value)} (${percent(one.lo)} to ${percent(one.hi)} with `
      + `${100 * facts.tested.confidence} % confidence)`])];
  $("about").replaceChildren(...rows.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]));
  $("remarks").replaceChildren(...facts.remarks.map(remark => make("li", {}, remark)));
  $("card").hidden = !facts.card;
  decide();

  $("file").addEventListener("change", event => take(event.target.files));
  $("form").addEventListener("submit", event => { event.preventDefault(); if (file) ask(); });
  $("acceptance").addEventListener("input", decide);
  $("player").addEventListener("loadedmetadata", event => { event.target.hidden = !event.target.videoWidth; });
  // a clip that misses the zone must not replace the page
  for (const kind of ["dragover", "drop"]) document.addEventListener(kind, event => event.preventDefault());
  document.addEventListener("dragover", () => $("drop").classList.add("over"));
  document.addEventListener("dragleave", () => $("drop").classList.remove("over"));
  document.addEventListener("drop", event => { $("drop").classList.remove("over"); take(event.dataTransfer.files); });
  new ResizeObserver(decide).observe($("histogram"));
  document.body.dataset.ready = "true";
}

start().catch(error => say("warning", `The page could not be set up: ${error.message}`));
