// The page's values, its filters and its views. What comes from posts is put on the page as text (textContent) alone.
"use strict";

const DATA = JSON.parse(document.getElementById("data").textContent);
const [SUBJECT, RELATION, OBJECT, SCORE, SYMMETRIC, SOURCES] = [0, 1, 2, 3, 4, 5];
const [NAME, TYPE, FORMS, IRI, PICTURE] = [0, 1, 2, 3, 4];
const VIEWS = ["graph", "posts", "statements"];
const wanted = { text: "", least: 0, relations: DATA.relations.map(() => true) };
const counts = DATA.relations.map((_, number) => DATA.statements.filter((found) => found[RELATION] === number).length);

const at = (id) => document.getElementById(id);
const fold = (text) => text.normalize("NFKC").toLowerCase();
const shortened = (text, most) => ([...text].length > most ? [...text].slice(0, most - 1).join("") + "\u2026" : text);
const brief = (label) => shortened((label.startsWith("/") && label.split("/").pop()) || label, 40);
const shown = (score) => (score === null ? "" : score.toFixed(2));
const typeClass = (type) => (type < 0 ? "tx" : `t${type % 8}`);
const plural = (count, one, many) => `${count.toLocaleString("en")} ${count === 1 ? one : many}`;
const nameOf = (node) => shortened(DATA.nodes[node][NAME], 120);
const isArea = (node) => DATA.nodes[node][FORMS].length === 0;
const haystacks = DATA.nodes.map((node) => fold([node[NAME], ...node[FORMS]].join("\n")));
const labels = DATA.relations.map(fold);

// An element with a class, texts and other elements in it.
function make(kind, className, ...inside) {
  const made = document.createElement(kind);
  if (className) made.className = className;
  made.append(...inside);
  return made;
}

function button(text, act, className = "link") {
  const made = make("button", className, text);
  made.type = "button";
  made.addEventListener("click", act);
  return made;
}

// Whether score and relation of a statement are asked for; one without a score is certain.
function passes(statement) {
  return wanted.relations[statement[RELATION]] && (statement[SCORE] === null || statement[SCORE] >= wanted.least);
}

function speaksOf(statement, text) {
  return [haystacks[statement[SUBJECT]], haystacks[statement[OBJECT]], labels[statement[RELATION]]].some((hay) => hay.includes(text));
}

// {numbers of the statements that pass all filters}.
function chosen() {
  const numbers = DATA.statements.map((_, number) => number);
  return new Set(numbers.filter((number) => passes(DATA.statements[number]) && speaksOf(DATA.statements[number], wanted.text)));
}

function narrowed() {
  return wanted.least > 0 || wanted.relations.includes(false);
}

function apply() {
  const found = chosen();
  at("least-shown").textContent = wanted.least.toFixed(2);
  at("relations-shown").textContent = `(${wanted.relations.filter(Boolean).length} of ${DATA.relations.length})`;
  at("count").textContent = `${found.size.toLocaleString("en")} of ${plural(DATA.statements.length, "statement", "statements")}`;
  showPosts(found);
  showTable(found);
  showGraph(found);
}

let waiting = 0;
function applySoon() {
  clearTimeout(waiting);
  waiting = setTimeout(apply, 120);
}

function view(name) {
  for (const each of VIEWS) {
    const tab = at(`tab-${each}`);
    at(each).hidden = each !== name;
    tab.setAttribute("aria-selected", String(each === name));
    tab.tabIndex = each === name ? 0 : -1;
  }
  if (name === "posts") drawAllArrows();
  if (name === "graph") graphIsSeen();
  history.replaceState(null, "", `#view=${name}`);
}

function fillHead() {
  const { totals, shown: part } = DATA;
  const [posts, entities] = [plural(totals.posts, "post", "posts"), plural(totals.entities, "entity", "entities")];
  at("summary").textContent = `${posts}, ${entities}, ${plural(totals.statements, "statement", "statements")}.`;
  const less = [];
  if (part.posts < totals.posts) less.push(`the first ${part.posts.toLocaleString("en")} posts, those with a statement first`);
  if (part.statements < totals.statements) less.push(`the ${part.statements.toLocaleString("en")} surest statements`);
  if (DATA.posts.some((post) => post.picture === null && post.note.startsWith("its picture"))) {
    less.push(`the pictures of ${plural(part.pictures, "post", "posts")}`);
  }
  at("bounds").hidden = !less.length;
  at("bounds").textContent = `This page shows ${less.join(", ")}. All is in the graph's other files.`;
}

function fillFilters() {
  const list = at("relation-list");
  DATA.relations.forEach((label, number) => {
    const box = make("input");
    box.type = "checkbox";
    box.checked = true;
    box.addEventListener("change", () => {
      wanted.relations[number] = box.checked;
      apply();
    });
    list.append(make("li", "", make("label", "", box, ` ${shortened(label, 80)} `, make("span", "score", String(counts[number])))));
  });
  const all = (state) => {
    wanted.relations.fill(state);
    for (const box of list.querySelectorAll("input")) box.checked = state;
    apply();
  };
  at("all").addEventListener("click", () => all(true));
  at("none").addEventListener("click", () => all(false));
  at("search").addEventListener("input", () => {
    wanted.text = fold(at("search").value.trim());
    applySoon();
  });
  at("least").addEventListener("input", () => {
    wanted.least = Number(at("least").value);
    applySoon();
  });
  at("clear").addEventListener("click", () => {
    Object.assign(wanted, { text: "", least: 0 });
    at("filters").reset();
    only(null);
    all(true);
  });
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("click", (event) => {
    if (!at("relations").contains(event.target)) at("relations").open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") at("relations").open = false;
  });
}

function fillTabs() {
  VIEWS.forEach((name, place) => {
    at(`tab-${name}`).addEventListener("click", () => view(name));
    at(`tab-${name}`).addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: VIEWS.length - 1 }[event.key];
      if (!step) return;
      const next = VIEWS[(place + step) % VIEWS.length];
      view(next);
      at(`tab-${next}`).focus();
    });
  });
}
