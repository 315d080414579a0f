// The private keys of this browser profile. WebCrypto makes them so that no script can read them out, and IndexedDB keeps
// them; they sign only here, and are gone when the profile's data is cleared.
import { base64url } from './bytes.js';

const DATABASE = 'watchfire.keys';
const STORE = 'pairs';
const ED25519 = { name: 'Ed25519' };

function request(asked) {
  return new Promise((resolve, reject) => {
    asked.onsuccess = () => resolve(asked.result);
    asked.onerror = () => reject(asked.error);
  });
}

async function inStore(mode, run) {
  const opening = indexedDB.open(DATABASE, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
  const database = await request(opening);
  try { return await request(run(database.transaction(STORE, mode).objectStore(STORE))); } finally { database.close(); }
}

/** Makes a key that is not kept yet: `{text, pair}`. Null when this browser has no Ed25519 or the page no safe address. */
export async function make() {
  try {
    const pair = await crypto.subtle.generateKey(ED25519, false, ['sign', 'verify']);
    return { text: base64url(new Uint8Array(await crypto.subtle.exportKey('raw', pair.publicKey))), pair };
  } catch { return null; }
}

/** Whether keys can be made here. */
export const isAble = async () => typeof indexedDB !== 'undefined' && await make() !== null;

/** Keeps a key, and asks the browser not to clear it when space runs out. */
export async function keep({ text, pair }) {
  await inStore('readwrite', (store) => store.put(pair, text));
  await navigator.storage?.persist?.();
}

/** The public halves of all keys here, base64url. */
export const kept = () => inStore('readonly', (store) => store.getAllKeys());

/** Throws a key away. */
export const drop = (text) => inStore('readwrite', (store) => store.delete(text));

/** Signs with a pair. */
export const signWith = async (pair, bytes) => new Uint8Array(await crypto.subtle.sign(ED25519, pair.privateKey, bytes));

/** Signs with a key that is kept here; null when it is not. */
export async function sign(text, bytes) {
  const pair = await inStore('readonly', (store) => store.get(text));
  return pair ? signWith(pair, bytes) : null;
}
