// Posts with marked entities, pictures with boxes, and arrows between the marks; and the table of statements.

const POSTS_AT_ONCE = 20;
const ROWS_AT_ONCE = 200;
const LANE = 17; // pixels between two arrows, one above the other
let postNumbers = [];
let postsShown = 0;
let statementsShown = new Set();
let onlyNode = null; // the entity that posts are to speak of
let rowNumbers = [];
let rowsShown = 0;
let order = { column: 3, down: true };

const postTexts = DATA.posts.map((post) => fold(`${post.id}\n${post.pieces.map(([text]) => text).join("")}`));
const postStatements = DATA.posts.map((post) => new Set([...post.arrows, ...post.boxes].map(([statement]) => statement)));

function only(node) {
  onlyNode = node;
  at("only").hidden = node === null;
  if (node !== null) {
    const all = button("Show all posts", () => { only(null); apply(); }, "");
    at("only").replaceChildren(`Posts that speak of ${nameOf(node)}. `, all);
  }
}

function showPosts(found) {
  statementsShown = new Set([...DATA.statements.keys()].filter((number) => passes(DATA.statements[number])));
  const has = (post, numbers) => [...postStatements[post]].some((number) => numbers.has(number));
  postNumbers = [...DATA.posts.keys()].filter((post) => {
    if (onlyNode !== null && !DATA.posts[post].marks.some(([node]) => node === onlyNode) && !has(post, statementsOf(onlyNode))) return false;
    if (narrowed() && !has(post, statementsShown)) return false;
    return postTexts[post].includes(wanted.text) || has(post, found);
  });
  at("post-list").replaceChildren();
  postsShown = 0;
  morePosts();
}

function morePosts(upTo = postsShown + POSTS_AT_ONCE) {
  const next = postNumbers.slice(postsShown, upTo);
  at("post-list").append(...next.map(postElement));
  postsShown += next.length;
  if (!postNumbers.length) at("post-list").replaceChildren(make("p", "note", "No post passes the filters."));
  const rest = postNumbers.length - postsShown;
  at("more-posts").hidden = rest === 0;
  at("more-posts").textContent = `Show ${Math.min(rest, POSTS_AT_ONCE)} more of ${postNumbers.length.toLocaleString("en")}`;
  if (!at("posts").hidden) drawAllArrows();
}

function goToPost(post) {
  let place = postNumbers.indexOf(post);
  if (place < 0) {
    at("clear").click();
    place = postNumbers.indexOf(post);
  }
  view("posts");
  if (place >= postsShown) morePosts(place + 1);
  for (const other of document.querySelectorAll("article.wanted")) other.classList.remove("wanted");
  const article = at("post-list").querySelector(`article[data-post="${post}"]`);
  article.classList.add("wanted");
  article.scrollIntoView({ block: "center" });
}

function postElement(number) {
  const post = DATA.posts[number];
  const text = make("p", "text", ...post.pieces.map((piece, place) => pieceElement(post, piece, place)));
  text.dir = "auto";
  const words = make("div", "words", text, document.createElementNS("http://www.w3.org/2000/svg", "svg"), factList(post));
  words.children[1].setAttribute("class", "arrows");
  words.children[1].setAttribute("aria-hidden", "true");
  const body = make("div", "body", words);
  if (post.picture !== null) body.append(pictureElement(post));
  const article = make("article", "", make("header", "", shortened(post.id, 200)), body);
  if (post.note) article.append(make("p", "note", shortened(post.note, 300)));
  article.dataset.post = number;
  return article;
}

function pieceElement(post, [text, marks], place) {
  if (!marks.length) return document.createTextNode(text);
  const inner = marks[marks.length - 1];
  const [node, type] = post.marks[inner];
  const made = make("mark", typeClass(type), text);
  made.dataset.marks = marks.join(" ");
  made.tabIndex = 0;
  made.setAttribute("role", "button");
  made.title = `${nameOf(node)}${type < 0 ? "" : `, ${DATA.types[type]}`}: show in the graph`;
  const next = post.pieces[place + 1];
  if (type >= 0 && !(next && next[1].includes(inner))) made.append(make("span", "tag", shortened(DATA.types[type], 24)));
  const act = () => selectNode(node);
  made.addEventListener("click", act);
  made.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); act(); }
  });
  return made;
}

function pictureElement(post) {
  const image = make("img");
  image.src = DATA.pictures[post.picture];
  image.alt = `Picture of the post ${shortened(post.id, 100)}`;
  const photo = make("div", "photo", image);
  for (const [statement, mark, [x0, y0, x1, y1], label, score] of post.boxes) {
    if (!statementsShown.has(statement)) continue;
    const [node, type] = post.marks[mark];
    const box = make("div", `box ${typeClass(type)}`, make("span", "", `${nameOf(node)}: ${brief(label)} ${shown(score)}`));
    box.classList.toggle("low", y0 < 0.1);
    box.classList.toggle("late", x0 > 0.5);
    Object.assign(box.style, { left: `${100 * x0}%`, top: `${100 * y0}%`, width: `${100 * (x1 - x0)}%`, height: `${100 * (y1 - y0)}%` });
    photo.append(box);
  }
  return make("figure", "", photo);
}

function factList(post) {
  const facts = [...post.arrows, ...post.boxes].filter(([statement]) => statementsShown.has(statement));
  return make("ul", "facts", ...facts.map(([number, head, tail, label, score]) => {
    const end = Array.isArray(tail) ? "part of the picture" : nameOf(post.marks[tail][0]);
    const said = `${nameOf(post.marks[head][0])} \u2014 ${shortened(label, 80)} \u2192 ${end}`;
    return make("li", "", button(said, () => selectStatement(number)), make("span", "score", ` ${shown(score)}`));
  }));
}

function drawAllArrows() {
  for (const article of document.querySelectorAll("#post-list article")) drawArrows(article);
}

// Arrows run in lanes above their line. One that ends on another line runs to this line's end, and from the other's begin to its end.
function drawArrows(article) {
  const post = DATA.posts[article.dataset.post];
  const [text, svg] = [article.querySelector(".text"), article.querySelector(".arrows")];
  svg.replaceChildren();
  const arrows = post.arrows.filter(([statement]) => statementsShown.has(statement));
  if (!arrows.length) return;
  const strips = arrows.flatMap((arrow) => stripsOf(arrow, text));
  strips.sort((a, b) => a.to - a.from - (b.to - b.from));
  const lanes = new Map(); // line -> strips that have a lane
  for (const strip of strips) {
    const there = lanes.get(strip.line) ?? lanes.set(strip.line, []).get(strip.line);
    strip.lane = 0;
    while (there.some((other) => other.lane === strip.lane && other.from < strip.to && strip.from < other.to)) strip.lane += 1;
    there.push(strip);
  }
  const most = Math.max(...strips.map((strip) => strip.lane)) + 1;
  text.style.lineHeight = `calc(1.7em + ${most * LANE + 4}px)`;
  text.style.paddingTop = `${(most * LANE) / 2}px`;
  const origin = svg.getBoundingClientRect();
  const labelled = strips.map((strip) => drawStrip(svg, strip, origin, rectOf(text, strip.mark).top - origin.top));
  svg.append(...labelled.filter(Boolean)); // above all lines
}

// Of a mark the rectangle on its first line.
function rectOf(text, mark) {
  const rects = [...text.querySelectorAll(`mark[data-marks~="${mark}"]`)].flatMap((piece) => [...piece.getClientRects()]);
  const line = rects.filter((rect) => Math.abs(rect.top - rects[0].top) < 4);
  const [left, right] = [Math.min(...line.map((rect) => rect.left)), Math.max(...line.map((rect) => rect.right))];
  return { left, right, top: rects[0].top, middle: (left + right) / 2 };
}

const ruler = document.createElement("canvas").getContext("2d");
ruler.font = "11px sans-serif";

function stripsOf([statement, head, tail, label, score], text) {
  const [a, b, area] = [rectOf(text, head), rectOf(text, tail), text.getBoundingClientRect()];
  const said = `${brief(label)} ${shown(score)}`.trim();
  const both = DATA.statements[statement][SYMMETRIC];
  const room = ruler.measureText(said).width / 2 + 8;
  const strip = (x0, x1, mark, feet, tips, words) => {
    const half = words ? room : 0;
    const middle = Math.min(Math.max((x0 + x1) / 2, area.left + half - 8), area.right - half + 8);
    const line = Math.round((mark === head ? a : b).top / 8);
    return { x0, x1, mark, feet, tips, words, middle, line, from: Math.min(x0, x1, middle - half), to: Math.max(x0, x1, middle + half) };
  };
  const [whole, lean] = [[true, true], Math.sign(b.middle - a.middle) * 5];
  if (head === tail) return [strip(a.middle - 8, a.middle + 8, head, whole, [both, true], said)];
  if (Math.abs(a.top - b.top) < 4) return [strip(a.middle + lean, b.middle - lean, head, whole, [both, true], said)];
  const [out, back] = a.top < b.top ? [area.right, area.left] : [area.left, area.right];
  const early = Math.abs(out - a.middle) > Math.abs(b.middle - back);
  return [
    strip(a.middle, out, head, [true, false], [both, false], early ? said : ""),
    strip(back, b.middle, tail, [false, true], [false, true], early ? "" : said),
  ];
}

// Draws a strip but for its label, which is returned. `top`: of the marks on its line, in the picture of arrows.
function drawStrip(svg, strip, origin, top) {
  const element = (kind, attributes, inside = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = inside;
    return made;
  };
  const [x0, x1, y] = [strip.x0 - origin.left, strip.x1 - origin.left, top - 8 - LANE * strip.lane - 4];
  const [turn, side] = [Math.min(5, Math.abs(x1 - x0) / 2), Math.sign(x1 - x0) || 1];
  const begin = strip.feet[0] ? `M${x0} ${top}V${y + turn}Q${x0} ${y} ${x0 + side * turn} ${y}` : `M${x0} ${y}`;
  const end = strip.feet[1] ? `H${x1 - side * turn}Q${x1} ${y} ${x1} ${y + turn}V${top - 2}` : `H${x1}`;
  svg.append(element("path", { d: begin + end }));
  if (strip.tips[1]) svg.append(element("path", { class: "tip", d: `M${x1} ${top}l-4 -7h8z` }));
  if (strip.tips[0]) svg.append(element("path", { class: "tip", d: `M${x0} ${top}l-4 -7h8z` }));
  return strip.words && element("text", { x: strip.middle - origin.left, y: y + 4 }, strip.words);
}

const COLUMNS = [
  ["Subject", (statement) => fold(DATA.nodes[statement[SUBJECT]][NAME])],
  ["Relation", (statement) => labels[statement[RELATION]]],
  ["Object", (statement) => fold(DATA.nodes[statement[OBJECT]][NAME])],
  ["Score", (statement) => statement[SCORE] ?? 1],
  ["Posts", (statement) => statement[SOURCES].length],
];

function fillColumns() {
  COLUMNS.forEach(([title], column) => {
    const head = make("th", "", button(title, () => {
      order = { column, down: order.column === column ? !order.down : column > 2 };
      showTable(chosen());
    }));
    head.scope = "col";
    at("columns").append(head);
  });
}

function showTable(found) {
  const [key, sign] = [COLUMNS[order.column][1], order.down ? -1 : 1];
  const keys = new Map([...found].map((number) => [number, key(DATA.statements[number])]));
  rowNumbers = [...found].sort((a, b) => sign * (keys.get(a) < keys.get(b) ? -1 : keys.get(a) > keys.get(b) ? 1 : 0));
  [...at("columns").children].forEach((head, column) => {
    head.setAttribute("aria-sort", column === order.column ? (order.down ? "descending" : "ascending") : "none");
  });
  at("rows").replaceChildren();
  rowsShown = 0;
  moreRows();
}

function moreRows() {
  const next = rowNumbers.slice(rowsShown, rowsShown + ROWS_AT_ONCE);
  at("rows").append(...next.map((number) => {
    const statement = DATA.statements[number];
    const cells = [
      button(nameOf(statement[SUBJECT]), () => selectNode(statement[SUBJECT])),
      button(shortened(DATA.relations[statement[RELATION]], 80), () => selectStatement(number)),
      button(isArea(statement[OBJECT]) ? `part of ${nameOf(statement[OBJECT])}` : nameOf(statement[OBJECT]), () => selectNode(statement[OBJECT])),
      make("span", "score", shown(statement[SCORE])),
      sourceList(statement, 5),
    ];
    return make("tr", "", ...cells.map((cell) => make("td", "", cell)));
  }));
  rowsShown += next.length;
  const rest = rowNumbers.length - rowsShown;
  at("more-rows").hidden = rest === 0;
  at("more-rows").textContent = `Show ${Math.min(rest, ROWS_AT_ONCE)} more of ${rowNumbers.length.toLocaleString("en")}`;
}
