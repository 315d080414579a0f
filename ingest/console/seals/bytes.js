// Bytes and their texts: hexadecimal, base64 and base64url. Each reader gives null for anything else than the one spelling.

/** Bytes as lower-case hexadecimal digits. */
export const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

/** Bytes as base64. */
export const base64 = (bytes) => btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(''));

/** Bytes of base64; null when it is something else. */
export function unbase64(text) {
  try {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return base64(bytes) === text ? bytes : null;
  } catch { return null; }
}

/** Bytes as base64url without padding, as keys are written. */
export const base64url = (bytes) => base64(bytes).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');

/** Bytes of base64url without padding; null when it is something else. */
export function unbase64url(text) {
  if (/[^\w-]/.test(text)) return null;
  return unbase64(text.replaceAll('-', '+').replaceAll('_', '/') + '='.repeat((4 - (text.length % 4)) % 4));
}

/** Whether two runs of bytes are the same. */
export const same = (one, other) => one.length === other.length && one.every((byte, at) => byte === other[at]);

/** SHA-256 of bytes. */
export const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));

/** Whether a text is a SHA-256 digest: 64 hexadecimal digits. */
export const isDigest = (text) => /^[0-9a-f]{64}$/.test(text);
