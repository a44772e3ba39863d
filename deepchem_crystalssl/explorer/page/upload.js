// A file of the user, answered by the server.

import { meta } from "#data";
import { $ } from "#elements";
import { say } from "#messages";

export async function askFile(file) {
  const wavelength = $("wavelength").value;
  const response = await fetch(`ask${wavelength ? `?wavelength=${encodeURIComponent(wavelength)}` : ""}`, {
    method: "POST", body: file, headers: { "X-File-Name": encodeURIComponent(file.name), "Content-Type": "application/octet-stream" },
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

export function mountUpload({ onCrystal, onPattern }) {
  if (!meta.uploadBytes) return;
  $("upload").hidden = false;
  $("open").onclick = () => $("file").click();
  const ask = async (file) => {
    try { const answer = await askFile(file); say(""); (answer.kind === "crystal" ? onCrystal : onPattern)(answer, file); }
    catch (error) { say(error instanceof TypeError ? "The server does not answer." : error.message, true); }
  };
  $("file").onchange = () => { if ($("file").files[0]) ask($("file").files[0]); $("file").value = ""; };
}
