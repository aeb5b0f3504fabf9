// Elements from data. All text becomes text nodes, so no user's text is read as markup.

const SVG = "http://www.w3.org/2000/svg";

export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

export function svg(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined && child !== false) element.append(child);
  }
  return element;
}

// Changes `target` into `wanted` in place, so that focus, selection and scroll positions stay.
// Children match by `data-key`, else by position; elements with `data-keep` stay unchanged.
export function morph(target, wanted) {
  if (target.nodeType !== Node.ELEMENT_NODE) {
    if (target.data !== wanted.data) target.data = wanted.data;
    return;
  }
  if (target.hasAttribute("data-keep")) return;
  for (const { name } of [...target.attributes]) {
    // The user opens and closes menus; an update must not.
    if (!wanted.hasAttribute(name) && !(name === "open" && target.nodeName === "DETAILS")) target.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (target.getAttribute(name) !== value) target.setAttribute(name, value);
  }
  morphChildren(target, [...wanted.childNodes]);
  adopt(target, wanted);
}

// The value of a field is a property, not an attribute. A field with the focus keeps its value.
function adopt(target, wanted) {
  if (target.nodeName === "OPTION") target.selected !== wanted.selected && (target.selected = wanted.selected);
  else if (target.type === "checkbox") target.checked = wanted.checked;
  else if ("value" in wanted && ["INPUT", "SELECT", "TEXTAREA"].includes(target.nodeName) && target !== document.activeElement) target.value !== wanted.value && (target.value = wanted.value);
}

export function morphChildren(target, wanted) {
  const keyed = new Map();
  for (const child of target.children) {
    if (child.dataset.key) keyed.set(child.dataset.key, child);
  }
  let place = target.firstChild;
  for (const child of wanted) {
    const match = matching(child, place, keyed);
    if (!match) {
      target.insertBefore(child, place);
      continue;
    }
    if (match === place) place = place.nextSibling;
    else target.insertBefore(match, place);
    morph(match, child);
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

function matching(child, place, keyed) {
  const key = child.dataset?.key;
  const match = key ? keyed.get(key) : place?.dataset?.key ? null : place;
  return match?.nodeName === child.nodeName ? match : null;
}
