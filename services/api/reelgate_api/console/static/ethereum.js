// Signing in with a wallet that lives in the browser (EIP-1193), by an EIP-4361 message.

import { ask } from "./api.js";
import { keccak256 } from "./keccak.js";

/** A session's token; throws with a sentence for the person when the wallet or the gateway says no. */
export async function signWithWallet() {
  const { ethereum } = globalThis;
  try {
    const [account] = await ethereum.request({ method: "eth_requestAccounts" });
    const chain = Number(await ethereum.request({ method: "eth_chainId" }));
    const { nonce } = await ask("/api/auth/nonce", { method: "POST" });
    const message = [
      `${location.host} wants you to sign in with your Ethereum account:`,
      withChecksum(account),
      "",
      "Sign in to make videos.",
      "",
      `URI: ${location.origin}`,
      "Version: 1",
      `Chain ID: ${chain}`,
      `Nonce: ${nonce}`,
      `Issued At: ${new Date().toISOString()}`,
    ].join("\n");
    const hex = Array.from(new TextEncoder().encode(message), (byte) => byte.toString(16).padStart(2, "0")).join("");
    const signature = await ethereum.request({ method: "personal_sign", params: [`0x${hex}`, account] });
    return (await ask("/api/auth/sign-in", { method: "POST", json: { message, signature } })).token;
  } catch (error) {
    if (error.code === 4001) throw new Error("The wallet did not sign.");
    throw error;
  }
}

/** The address as EIP-55 spells it: upper case where the hash of the lower case says so. */
export function withChecksum(address) {
  const plain = address.toLowerCase().replace(/^0x/, "");
  const hash = keccak256(plain);
  return `0x${Array.from(plain, (digit, index) => (parseInt(hash[index], 16) > 7 ? digit.toUpperCase() : digit)).join("")}`;
}
