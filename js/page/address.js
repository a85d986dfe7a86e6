// Write panels and fields into the address, and read them: node::a,b;other::c!h!c3!lLabel@h300@aK!1!5!l

// Characters that separate the parts of a panel; in a name they are written as ~ and two digits.
const SEPARATORS = /[~,;!@]|::/g;
const FORMS = { colour: "c", label: "l", isHidden: "h" };

/** Write a panel as text. */
export function formatPanel({ fields, height, isTable, axes = {} }) {
  const options = [
    ...(height === undefined ? [] : [`h${height}`]),
    ...(isTable ? ["t"] : []),
    ...Object.entries(axes).map(([unit, { low, high, isLog }]) =>
      ["a" + escape(unit), low ?? "", high ?? "", isLog ? "l" : ""].join("!"),
    ),
  ];
  return [formatFields(fields), ...options].join("@");
}

/** Read a panel; leave out invalid parts. */
export function parsePanel(text) {
  const [fields, ...options] = text.split("@");
  const panel = { fields: parseFields(fields) };
  for (const option of options) {
    const [kind, value] = [option[0], option.slice(1)];
    if (kind === "h" && Number(value) > 0) panel.height = Number(value);
    if (kind === "t") panel.isTable = true;
    const axis = kind === "a" ? parseAxis(value) : {};
    if (Object.keys(axis).length) panel.axes = { ...panel.axes, ...axis };
  }
  return panel;
}

/** Return whether each part of the fields of a panel, or of keys, has a node and a field. */
export function isPanel(text) {
  return text.split("@")[0].split(";").every((part) => !part || /^[^:].*?::./.test(part));
}

/** Write keys as text. */
export function formatKeys(keys) {
  return formatFields(keys.map((key) => ({ key })));
}

/** Read keys, each once. */
export function parseKeys(text) {
  return parseFields(text).map(({ key }) => key);
}

/** Write fields; successive fields of the same node share its name. */
function formatFields(fields) {
  let node = null;
  const parts = fields.map(({ key, ...more }) => {
    const at = key.indexOf("::");
    const [own, name] = [key.slice(0, at), key.slice(at + 2)];
    const before = own === node ? "," : `${node === null ? "" : ";"}${escape(own)}::`;
    node = own;
    return before + escape(name) + formatMore(more);
  });
  return parts.join("");
}

function formatMore(more) {
  const given = Object.keys(FORMS).filter((name) => more[name] !== undefined && more[name] !== false);
  return given.map((name) => `!${FORMS[name]}${more[name] === true ? "" : escape(more[name])}`).join("");
}

function parseFields(text) {
  const found = new Map();
  for (const part of text.split(";")) {
    const at = part.indexOf("::");
    if (at <= 0) continue;
    const node = unescape(part.slice(0, at));
    for (const field of part.slice(at + 2).split(",")) {
      const [name, ...options] = field.split("!");
      const key = `${node}::${unescape(name)}`;
      if (name && !found.has(key)) found.set(key, { key, ...parseMore(options) });
    }
  }
  return [...found.values()];
}

function parseMore(options) {
  const more = {};
  for (const option of options) {
    const value = unescape(option.slice(1));
    if (option[0] === FORMS.isHidden) more.isHidden = true;
    if (option[0] === FORMS.colour && value) more.colour = value;
    if (option[0] === FORMS.label && value) more.label = value;
  }
  return more;
}

function parseAxis(text) {
  const [unit, low = "", high = "", isLog = ""] = text.split("!");
  const axis = {};
  if (low !== "" && Number.isFinite(Number(low))) axis.low = Number(low);
  if (high !== "" && Number.isFinite(Number(high))) axis.high = Number(high);
  if (isLog === "l") axis.isLog = true;
  return Object.keys(axis).length ? { [unescape(unit)]: axis } : {};
}

function escape(text) {
  return String(text).replace(SEPARATORS, (part) =>
    [...part].map((each) => `~${each.charCodeAt(0).toString(16)}`).join(""),
  );
}

function unescape(text) {
  return text.replace(/~([0-9a-f]{2})/g, (_, code) => String.fromCharCode(parseInt(code, 16)));
}
