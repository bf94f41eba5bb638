// Videos in view play in step: every one is where a clock that all of them share says. The others rest.
const videos = [...document.querySelectorAll("video")];
const toggle = document.getElementById("toggle");
const SLACK = 0.15; // seconds by which a video may be off before it is moved
let started = performance.now();
let stopped = null; // when all were stopped

const clock = () => ((stopped ?? performance.now()) - started) / 1000;

function follow(video, slack = SLACK) {
  if (!video.duration) return;
  const wanted = clock() % video.duration;
  const off = Math.abs(video.currentTime - wanted);
  if (Math.min(off, video.duration - off) > slack) video.currentTime = wanted;
}

function show(video) {
  if (stopped === null && video.dataset.inView) {
    follow(video);
    video.play().catch(() => {}); // a browser may refuse until it was touched; a click then starts all
  } else {
    video.pause();
    if (stopped !== null) follow(video, 0); // all on the same frame
  }
}

function turn() {
  const now = performance.now();
  if (stopped === null) {
    stopped = now;
  } else {
    started += now - stopped;
    stopped = null;
  }
  toggle.textContent = stopped === null ? "Pause" : "Play";
  videos.forEach(show);
}

const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting) target.dataset.inView = "yes";
    else delete target.dataset.inView;
    show(target);
  }
});
for (const video of videos) {
  seen.observe(video);
  video.addEventListener("click", turn);
  video.addEventListener("loadedmetadata", () => show(video));
}
setInterval(() => stopped === null && videos.filter((video) => video.dataset.inView).forEach((video) => follow(video)), 1000);
toggle.addEventListener("click", turn);
toggle.hidden = videos.length === 0;
if (matchMedia("(prefers-reduced-motion: reduce)").matches) turn();
