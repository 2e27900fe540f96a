// A page that shows all that the hook tells, for the tests. Its query says which hook, whose wallet and so on.
import { StrictMode, useEffect, useRef, useState } from "react";
import { createRoot } from "react-dom/client";

import { InsufficientCreditsError, JobFailedError, useVideoGeneration } from "@reelgate/react";

import { VideoGenerator as Example } from "./example";
import { useVideoGeneration as guidesHook } from "./guide-hook";
import { VideoGenerator } from "./guide-usage";

const query = new URLSearchParams(location.search);
const wallet = query.get("wallet") ?? "";
const image = "https://example.com/image.png";
const options = { baseUrl: query.get("api") ?? "", getToken: async () => query.get("token") };
let clicks = 0;
const params = { wallet_address: wallet, prompt: query.get("prompt") ?? "A cat", image_urls: [image] };

function Everything() {
  const { generate, cancel, reset, errorDetail, job, ...shown } = useVideoGeneration(options);
  const history = useRef<string[]>([]);
  if (shown.status && history.current.at(-1) !== shown.status) history.current.push(shown.status);
  useEffect(() => {
    if (query.has("at-once")) void generate(params);
  }, [generate]);

  return (
    <div>
      <button id="generate" onClick={() => generate(query.has("differing") ? { ...params, seeds: 10000 + clicks++ } : params)}>Generate</button>
      <button id="cancel" onClick={cancel}>Cancel</button>
      <button id="reset" onClick={reset}>Reset</button>
      {Object.entries(shown).map(([name, value]) => <p key={name} id={name}>{String(value)}</p>)}
      <p id="history">{history.current.join(" ")}</p>
      <p id="state">{job?.state}</p>
      <p id="refunded">{String(job?.refunded)}</p>
      {errorDetail && <p id="kind">{errorDetail.kind}</p>}
      {errorDetail?.kind === "request" && <p id="code">{errorDetail.code}</p>}
      {errorDetail instanceof InsufficientCreditsError && (
        <p id="short">{errorDetail.balance} of {errorDetail.cost}</p>
      )}
      {errorDetail instanceof JobFailedError && (
        <p id="failure">{errorDetail.failure?.category ?? errorDetail.job.failure_code}</p>
      )}
      {shown.videoUrl && <video src={shown.videoUrl} autoPlay muted />}
    </div>
  );
}

function Page() {
  const [isThere, setThere] = useState(true);
  return (
    <>
      <button id="toggle" onClick={() => setThere(!isThere)}>Mount or unmount</button>
      {isThere && <Everything />}
    </>
  );
}

const pages = {
  guide: () => <VideoGenerator useVideoGeneration={guidesHook} currentAddress={wallet} selectedImageUrl={image} />,
  moved: () => <VideoGenerator useVideoGeneration={useVideoGeneration} currentAddress={wallet} selectedImageUrl={image} />,
  example: () => <Example wallet={wallet} imageUrl={image} />,
  everything: () => <Page />,
};
const shown = pages[(query.get("show") ?? "everything") as keyof typeof pages]();
const root = createRoot(document.getElementById("root") as HTMLElement);
root.render(query.has("strict") ? <StrictMode>{shown}</StrictMode> : shown);
