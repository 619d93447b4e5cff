// The graph view and what it tells of a chosen node or statement; and the page's start.

const MOST_EDGES = 150;
const LABELLED = 60; // with more edges than that only the chosen one has its label
let graphView = null;
let drawn = new Set(); // what the view was filled with
let pending = null; // statements to be drawn when the view is seen
let selected = null; // {node} or {statement}

const ofNode = DATA.nodes.map(() => []);
DATA.statements.forEach((statement, number) => {
  for (const end of new Set([statement[SUBJECT], statement[OBJECT]])) ofNode[end].push(number);
});
const statementsOf = (node) => new Set(ofNode[node]);

function showGraph(found) {
  pending = found;
  if (!at("graph").hidden) graphIsSeen();
}

function graphIsSeen() {
  if (!graphView) startGraph();
  if (pending) fillGraph(pending);
  pending = null;
}

function startGraph() {
  graphView = cytoscape({ container: at("canvas"), minZoom: 0.1, maxZoom: 4, style: graphStyle() });
  graphView.on("tap", "node", (event) => selectNode(event.target.data("node")));
  graphView.on("tap", "edge", (event) => selectStatement(event.target.data("statement")));
  graphView.on("tap", (event) => {
    if (event.target === graphView) select(null);
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => graphView.style(graphStyle()));
}

function graphStyle() {
  const colours = getComputedStyle(document.documentElement);
  const colour = (name) => colours.getPropertyValue(name).trim();
  const halo = { "text-outline-color": colour("--ground"), "text-outline-width": 2.5, color: colour("--ink"), "font-size": 11 };
  return [
    { selector: "node", style: { label: "data(name)", width: 22, height: 22, "text-valign": "bottom", "text-margin-y": 3, "text-wrap": "ellipsis",
      "text-max-width": "130px", "background-color": (node) => colour(`--${node.data("colour")}`), ...halo } },
    { selector: "node[?area]", style: { shape: "round-rectangle", width: 34, height: 34, "border-width": 2, "border-color": colour("--tx") } },
    { selector: "node[picture]", style: { "background-image": "data(picture)", "background-fit": "cover", width: 48, height: 48 } },
    { selector: "edge", style: { width: "data(width)", "curve-style": "bezier", "line-color": colour("--edge"), "target-arrow-shape": "triangle",
      "target-arrow-color": colour("--faint"), "arrow-scale": 0.9 } },
    { selector: "edge[?both]", style: { "source-arrow-shape": "triangle", "source-arrow-color": colour("--faint") } },
    { selector: "edge.labelled, edge:selected", style: { label: "data(label)", "text-rotation": "autorotate", ...halo, "font-size": 9.5 } },
    { selector: "edge:selected", style: { "line-color": colour("--strong"), "target-arrow-color": colour("--strong") } },
    { selector: "node:selected", style: { "border-width": 4, "border-color": colour("--strong") } },
  ];
}

function fillGraph(found) {
  drawn = found;
  const about = [...found].filter((number) => isAbout(number));
  const numbers = [...new Set([...about, ...found])].slice(0, MOST_EDGES); // the surest come first
  const nodes = new Set(numbers.flatMap((number) => [DATA.statements[number][SUBJECT], DATA.statements[number][OBJECT]]));
  const elements = [...[...nodes].map(nodeElement), ...numbers.map((number) => edgeElement(number, numbers.length <= LABELLED))];
  graphView.elements().remove();
  graphView.add(elements);
  layOut();
  const less = found.size > numbers.length ? `Drawn are the ${numbers.length} surest of ${found.size.toLocaleString("en")}: filter to see others.` : "";
  at("graph-note").textContent = numbers.length ? less : "No statement passes the filters.";
  markSelected();
}

function nodeElement(node) {
  const [name, type, , , picture] = DATA.nodes[node];
  const area = isArea(node);
  const data = { id: `n${node}`, node, name: area ? "" : shortened(name, 60), colour: typeClass(type), area };
  return { data: picture === null ? data : { ...data, picture: DATA.pictures[picture] } };
}

function edgeElement(number, labelled) {
  const [subject, relation, object, score, both] = DATA.statements[number];
  const label = `${brief(DATA.relations[relation])} ${shown(score)}`.trim();
  const data = { id: `e${number}`, source: `n${subject}`, target: `n${object}`, statement: number, both, label, width: 1 + 2.5 * (score ?? 1) };
  return { data, classes: labelled ? "labelled" : "" };
}

function layOut() {
  const [room, push] = graphView.edges().length <= LABELLED ? [130, 300000] : [70, 40000]; // labels need room
  graphView.resize();
  graphView.layout({ name: "cose", animate: false, nodeDimensionsIncludeLabels: true, idealEdgeLength: () => room, nodeRepulsion: () => push,
    edgeElasticity: () => 100, gravity: 0.3, componentSpacing: 40, padding: 24 }).run();
  if (graphView.zoom() > 1.3) graphView.zoom(1.3).center();
}

function select(choice) {
  selected = choice;
  fillPanel();
  drawSelected();
  markSelected();
}

function selectNode(node) {
  view("graph");
  select({ node });
}

function selectStatement(statement) {
  view("graph");
  select({ statement });
}

// Whether a statement is the chosen one, or one of the chosen node.
function isAbout(number) {
  return selected !== null && ("node" in selected ? ofNode[selected.node].includes(number) : selected.statement === number);
}

function markSelected() {
  if (!graphView) return;
  graphView.elements().unselect();
  if (!selected) return;
  const found = graphView.getElementById("node" in selected ? `n${selected.node}` : `e${selected.statement}`);
  found.select();
  if (graphView.zoom() < 0.8 && found.nonempty()) graphView.zoom(0.9).center(found);
}

// Fills the view anew where it has not what was chosen, although the filters let it pass.
function drawSelected() {
  const lacks = (number) => isAbout(number) && graphView.getElementById(`e${number}`).empty();
  if (graphView && selected && [...drawn].some(lacks)) fillGraph(drawn);
}

function fillPanel() {
  const panel = at("panel");
  if (!selected) panel.replaceChildren(make("p", "note", "Choose an entity or a statement, here or in the other views, to see what is known of it."));
  else panel.replaceChildren(...("node" in selected ? aboutNode(selected.node) : aboutStatement(selected.statement)));
}

function address(iri) {
  if (!/^https?:\/\//i.test(iri)) return make("code", "", shortened(iri, 300));
  const link = make("a", "", make("code", "", shortened(iri, 300)));
  Object.assign(link, { href: iri, rel: "noopener noreferrer" });
  return link;
}

function aboutNode(node) {
  const [name, type, forms, iri, picture] = DATA.nodes[node];
  const dot = make("span", `dot ${typeClass(type)}${isArea(node) ? " square" : ""}`);
  const told = [make("h2", "", dot, isArea(node) ? `Part of ${shortened(name, 120)}` : shortened(name, 200))];
  if (picture !== null) told.push(Object.assign(make("img"), { src: DATA.pictures[picture], alt: "This part of the picture" }));
  if (type >= 0) told.push(make("p", "", shortened(DATA.types[type], 80)));
  told.push(make("p", "", address(iri)));
  if (forms.length > 1) told.push(make("h3", "", "Written as"), make("p", "", forms.slice(0, 20).map((form) => shortened(form, 60)).join(", ")));
  const numbers = ofNode[node];
  told.push(make("h3", "", plural(numbers.length, "statement", "statements")));
  told.push(make("ul", "", ...numbers.slice(0, 100).map((number) => make("li", "", button(sentence(number), () => selectStatement(number)),
    make("span", "score", ` ${shown(DATA.statements[number][SCORE])}`)))));
  told.push(make("p", "", button("Show its posts", () => { only(node); apply(); view("posts"); }, "")));
  return told;
}

function aboutStatement(number) {
  const [subject, relation, object, score, both, sources] = DATA.statements[number];
  const certain = score === null ? "without a score: annotated" : `score ${shown(score)}${sources.length > 1 ? ", of all its posts together" : ""}`;
  const end = (node) => make("p", "", button(isArea(node) ? `part of ${nameOf(node)}` : nameOf(node), () => selectNode(node)));
  return [
    make("h2", "", shortened(DATA.relations[relation], 200)),
    end(subject), make("p", "", both ? "\u2194" : "\u2192"), end(object), make("p", "score", certain),
    make("h3", "", plural(sources.length, "source", "sources")), sourceList(DATA.statements[number], 100),
  ];
}

function sentence(number) {
  const [subject, relation, object] = DATA.statements[number];
  return `${isArea(subject) ? "part of a picture" : nameOf(subject)} \u2014 ${shortened(DATA.relations[relation], 80)} \u2192 ${isArea(object) ? "part of a picture" : nameOf(object)}`;
}

function sourceList(statement, most) {
  const sources = statement[SOURCES];
  const items = sources.slice(0, most).map(([id, post, score]) => {
    const name = post < 0 ? shortened(id, 60) : button(shortened(id, 60), () => goToPost(post));
    return make("li", "", name, make("span", "score", ` ${shown(score)}`));
  });
  if (sources.length > most) items.push(make("li", "note", `and ${sources.length - most} more`));
  return make("ul", "", ...items);
}

function fillLegend() {
  const items = DATA.types.map((type, number) => make("li", "", make("span", `dot ${typeClass(number)}`), shortened(type, 60)));
  if (DATA.nodes.some((node, number) => node[TYPE] < 0 && !isArea(number))) items.push(make("li", "", make("span", "dot tx"), "no type"));
  if (DATA.nodes.some((_, number) => isArea(number))) items.push(make("li", "", make("span", "dot square tx"), "part of a picture"));
  at("legend").append(...items);
}

function start() {
  fillHead();
  fillFilters();
  fillTabs();
  fillColumns();
  fillLegend();
  fillPanel();
  at("nearer").addEventListener("click", () => graphView.zoom({ level: graphView.zoom() * 1.3, renderedPosition: centre() }));
  at("farther").addEventListener("click", () => graphView.zoom({ level: graphView.zoom() / 1.3, renderedPosition: centre() }));
  at("fit").addEventListener("click", () => graphView.fit(undefined, 24));
  at("again").addEventListener("click", layOut);
  at("more-posts").addEventListener("click", () => morePosts());
  at("more-rows").addEventListener("click", moreRows);
  const asked = location.hash.replace("#view=", "");
  view(VIEWS.includes(asked) ? asked : "graph");
  apply();
  let width = 0;
  new ResizeObserver(([entry]) => {
    if (Math.abs(entry.contentRect.width - width) < 1) return;
    width = entry.contentRect.width;
    if (!at("posts").hidden) drawAllArrows();
  }).observe(at("post-list"));
}

const centre = () => ({ x: graphView.width() / 2, y: graphView.height() / 2 });
start();
