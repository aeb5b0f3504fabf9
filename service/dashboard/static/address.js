// The address of a view, like `#/search/ID/trials?state=failed`: a link restores the view.

export function here() {
  const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { parts: path.split("/").filter(Boolean).map(decodeURIComponent), query: new URLSearchParams(query) };
}

export function href(parts, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(given).toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

// Changes the query of the address without a new entry in the browser's history.
export function keep(changes) {
  const { parts, query } = here();
  const all = { ...Object.fromEntries(query), ...changes };
  history.replaceState(null, "", href(parts, all));
}
