// Form fields from JSON Schema: numbers, text, choices, checkboxes, and objects of these.

import { h } from "./dom.js";

// The meaning of a number that is left out.
const EMPTY = { "confirm.epochs": "as in the search", "measure.batch": "as the task's example" };

// Returns the fields of `properties`, which are at `path` in the document.
export function fields({ document, faults, schema, properties, path, required = [] }) {
  return Object.entries(properties).flatMap(([name, given]) => {
    const { shape, nullable } = resolve(given, schema);
    const at = [...path, name];
    if (shape.type === "object" && shape.properties) return fields({ document, faults, schema, properties: shape.properties, path: at, required: shape.required });
    return field({ document, faults, name, shape, nullable, at, start: given.default ?? defaultOf(schema, at), isRequired: required?.includes(name) }) ?? [];
  });
}

export function setAt(document, path, value) {
  const [name, ...rest] = path;
  if (rest.length) {
    if (typeof document[name] !== "object" || document[name] === null) document[name] = {};
    return setAt(document[name], rest, value);
  }
  if (value === undefined) delete document[name];
  else document[name] = value;
}

const getAt = (document, path) => path.reduce((inner, name) => inner?.[name], document);

// Resolves references, and takes the part of a union that is not null.
function resolve(given, schema) {
  const named = given.$ref ? schema.$defs?.[given.$ref.split("/").at(-1)] ?? {} : given;
  const all = named.anyOf ?? named.oneOf ?? [];
  const parts = all.filter((one) => one.type !== "null");
  if (parts.length) {
    const inner = resolve(parts.find((one) => one.type !== "array") ?? parts[0], schema);
    return { shape: inner.shape, nullable: parts.length < all.length };
  }
  // Known values, or others that match a pattern: a text field that suggests the known ones.
  if (named.else?.enum) return { shape: { type: "string", offered: named.else.enum, description: `or what matches ${named.if.pattern}` }, nullable: false };
  return { shape: named, nullable: false };
}

// The default of an object holds the defaults of all its fields.
function defaultOf(schema, [first, ...rest]) {
  return getAt(schema.properties[first]?.default, rest);
}

function field({ document, faults, name, shape, nullable, at, start, isRequired }) {
  const path = at.join(".");
  const value = getAt(document, at) ?? start ?? "";
  const wrong = faults.filter((one) => one.field === path || one.field.startsWith(`${path}.`));
  const attributes = { "data-path": path, id: `field-${path}`, "data-nullable": nullable ? "1" : null, "aria-invalid": wrong.length ? "true" : null, "aria-describedby": wrong.length ? `wrong-${path}` : null };
  const input = control(shape, value, attributes, { nullable, isRequired });
  if (!input) return null;
  const text = name.replaceAll("_", " ");
  return h(
    "label",
    { class: shape.type === "boolean" ? "field check" : "field", "data-key": path, title: shape.description ?? null },
    h("span", {}, text),
    input,
    wrong.map((one) => h("span", { class: "error", id: `wrong-${path}` }, one.message)),
  );
}

function control(shape, value, attributes, { nullable, isRequired }) {
  const values = shape.enum ?? (shape.const !== undefined ? [shape.const] : null);
  if (values && values.length === 1 && !isRequired) return null;
  if (values) return h("select", attributes, nullable ? h("option", { value: "", selected: value === "" }, "\u2013") : null, values.map((one) => h("option", { value: one, selected: one === value }, one)));
  if (shape.type === "boolean") return h("input", { ...attributes, type: "checkbox", checked: value === true });
  if (shape.type === "integer" || shape.type === "number") {
    const low = shape.minimum ?? shape.exclusiveMinimum;
    const high = shape.maximum ?? shape.exclusiveMaximum;
    return h("input", { ...attributes, type: "number", value, min: low, max: high, step: shape.type === "integer" ? 1 : "any", placeholder: nullable ? EMPTY[attributes["data-path"]] ?? "no limit" : null });
  }
  if (shape.type === "string") {
    const list = shape.offered ? `${attributes.id}-offered` : null;
    return [h("input", { ...attributes, type: "text", value: typeof value === "string" ? value : "", maxlength: shape.maxLength, list, placeholder: attributes["data-path"] === "name" ? "generated" : null }), list ? h("datalist", { id: list }, shape.offered.map((one) => h("option", { value: one }))) : null];
  }
  return null;
}
