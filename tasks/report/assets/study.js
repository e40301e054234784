/* Plays the frames of one study with their outlines, and moves the cursor along the volume curve. No libraries. */
"use strict";
(function () {
  var source = document.getElementById("study-data");
  if (!source) return;
  var study = JSON.parse(source.textContent);
  var COLOURS = { rv: "#56b4e9", endo: "#e69f00", epi: "#009e73", la: "#cc79a7", ra: "#f0e442", aorta: "#d55e00" };
  var STEPS = [[1, 1], [2, 0], [1, -1], [0, -2], [-1, -1], [-2, 0], [-1, 1], [0, 2]];
  var RESOLUTION = 2;
  var slider = document.getElementById("frame");
  var button = document.getElementById("play");
  var readout = document.getElementById("readout");
  var outlinesShown = document.getElementById("outlines");
  var cursor = document.getElementById("cursor");
  var frame = study.first, playing = false, nextAt = 0;

  function decode(code) {
    var parts = code.split(":"), x = +parts[0], y = +parts[1], points = [[x / 2, y / 2]];
    for (var i = 0; i < parts[2].length; i++) {
      var step = STEPS[+parts[2][i]];
      x += step[0]; y += step[1];
      points.push([x / 2, y / 2]);
    }
    return points;
  }

  /* Curves through the midpoints of the border's segments: smooth, and never further than a quarter pixel off it. */
  function trace(path, points, scaleX, scaleY) {
    function at(p) { return [(p[0] + 0.5) * scaleX, (p[1] + 0.5) * scaleY]; }
    function middle(p, q) { return at([(p[0] + q[0]) / 2, (p[1] + q[1]) / 2]); }
    var start = middle(points[0], points[1]);
    path.moveTo(start[0], start[1]);
    for (var i = 1; i < points.length; i++) {
      var corner = at(points[i]), end = middle(points[i], points[i + 1 < points.length ? i + 1 : 1]);
      path.quadraticCurveTo(corner[0], corner[1], end[0], end[1]);
    }
  }

  function outline(plane, name, index) {
    var codes = plane.outlines[name][index], path = new Path2D();
    for (var i = 0; i < codes.length; i++) trace(path, decode(codes[i]), plane.width / plane.crop[0], plane.height / plane.crop[1]);
    return path;
  }

  function scaleBar(context, plane) {
    var length = 20 * plane.width / plane.size_mm[0];
    var left = plane.left + 12, top = plane.canvas.height - 16;
    context.fillStyle = "#fff";
    context.fillRect(left, top, length, 3);
    context.font = "20px Arial, 'Liberation Sans', sans-serif";
    context.fillText("20 mm", left, top - 8);
  }

  function draw(plane) {
    var index = Math.min(plane.valid.length - 1, Math.floor(frame * plane.valid.length / study.frames));
    var context = plane.canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, plane.canvas.width, plane.canvas.height);
    if (!plane.valid[index]) {
      context.fillStyle = "#bbb";
      context.font = "22px Arial, 'Liberation Sans', sans-serif";
      context.fillText("no image in this frame", 20, 40);
      return;
    }
    var w = plane.tile[0], h = plane.tile[1];
    context.imageSmoothingQuality = "high";
    context.drawImage(plane.sheet, index % plane.columns * w, Math.floor(index / plane.columns) * h, w, h, plane.left, plane.top, plane.width, plane.height);
    scaleBar(context, plane);
    if (!outlinesShown.checked) return;
    context.setTransform(1, 0, 0, 1, plane.left, plane.top);
    context.lineWidth = 1.6 * RESOLUTION;
    Object.keys(plane.outlines).forEach(function (name) {
      context.strokeStyle = COLOURS[name];
      context.stroke(outline(plane, name, index));
    });
  }

  function show() {
    slider.value = String(frame);
    var time = study.time_ms[frame];
    var mark = frame === study.ed ? " · ED" : frame === study.es ? " · ES" : "";
    readout.textContent = "Frame " + (frame + 1) + " of " + study.frames + (time === null ? "" : " · " + Math.round(time) + " ms") + mark;
    if (cursor) {
      var x = study.cursor_x[frame];
      cursor.setAttribute("x1", x);
      cursor.setAttribute("x2", x);
    }
    study.planes.forEach(function (plane) { if (plane.ready) draw(plane); });
  }

  function go(to) { frame = (to + study.frames) % study.frames; show(); }

  function tick(now) {
    if (!playing) return;
    if (now >= nextAt) {
      go(frame + 1);
      nextAt = Math.max(nextAt + study.frame_ms, now);
    }
    requestAnimationFrame(tick);
  }

  function play(on) {
    playing = on;
    button.textContent = on ? "Pause" : "Play";
    if (on) { nextAt = 0; requestAnimationFrame(tick); }
  }

  function prepare(plane) {
    plane.canvas = document.getElementById("plane-" + plane.name);
    var side = Math.max(plane.size_mm[0], plane.size_mm[1]), box = 280 * RESOLUTION;
    plane.canvas.width = plane.canvas.height = box;
    plane.width = box * plane.size_mm[0] / side;
    plane.height = box * plane.size_mm[1] / side;
    plane.left = (box - plane.width) / 2;
    plane.top = (box - plane.height) / 2;
    plane.sheet = new Image();
    plane.sheet.onload = function () { plane.ready = true; draw(plane); };
    plane.sheet.src = plane.image;
  }

  study.planes.forEach(prepare);
  button.addEventListener("click", function () { play(!playing); });
  slider.addEventListener("input", function () { play(false); go(+slider.value); });
  outlinesShown.addEventListener("change", show);
  document.querySelectorAll("button.jump").forEach(function (jump) {
    jump.addEventListener("click", function () { play(false); go(+jump.dataset.frame); });
  });
  document.addEventListener("keydown", function (event) {
    if (event.target.tagName === "INPUT" && event.key !== " ") return;
    if (event.key === "ArrowRight") { play(false); go(frame + 1); }
    if (event.key === "ArrowLeft") { play(false); go(frame - 1); }
    if (event.key === " " && event.target.tagName !== "BUTTON") { event.preventDefault(); play(!playing); }
  });
  show();
})();
