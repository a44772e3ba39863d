// The modules of the page stand in it as text. Each gets an address, and an import map tells their names.
{
  /** @type {Record<string, string>} */
  const imports = {};
  for (const part of document.querySelectorAll("script[id^='module:']")) {
    const text = new Blob([part.textContent], { type: "text/javascript" });
    imports[`#${part.id.slice("module:".length)}`] = URL.createObjectURL(text);
  }
  const map = document.createElement("script");
  map.type = "importmap";
  map.textContent = JSON.stringify({ imports });
  document.head.append(map);
}
