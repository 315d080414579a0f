// What is asked of people and of the office of seals, one function a question.
import { ask } from '../api.js';

const send = (method, path, body) => ask(path, {}, { method, headers: { accept: 'application/json', 'content-type': 'application/json' }, body: JSON.stringify(body) });
const part = encodeURIComponent;

/** Most that a list answers at once. */
export const PAGE = 200;

/** Whether there is an office of seals here. */
export const hasOffice = document.querySelector('meta[name="watchfire-office"]')?.content === 'yes';

/** The address to which passkeys are bound; empty when there are none. */
export const origin = document.querySelector('meta[name="watchfire-origin"]')?.content ?? '';

/** Who is logged in. */
export const session = () => ask('/session');
/** Logs in: the session, or `{attempt, options}` when a passkey has to be shown. */
export const enter = (name, password) => send('POST', '/session', { name, password });
/** Logs in who was asked for a passkey. */
export const enterWithPasskey = (attempt, credential) => send('POST', '/session/passkey', { attempt, credential });
/** Logs out. */
export const leave = () => ask('/session', {}, { method: 'DELETE' });
/** Makes the first admin. */
export const first = (token, name, shown, password) => send('POST', '/first', { token, name, shown: shown || null, password });
/** Chooses a password. */
export const choosePassword = (before, after) => send('POST', '/me/password', { old: before, new: after });

/** My keys, retired ones too. */
export const keys = async () => (await ask('/me/keys')).items;
/** Registers a key. */
export const addKey = (key, label, proof, password) => send('POST', '/me/keys', { key, label, proof, password });
/** Retires a key for ever. */
export const retireKey = (key) => ask(`/me/keys/${part(key)}`, {}, { method: 'DELETE' });

/** What the browser is asked for a new passkey. */
export const passkeyOptions = async (password) => (await send('POST', '/me/passkeys/options', { password })).options;
/** Registers the passkey that was asked for. */
export const addPasskey = (label, credential) => send('POST', '/me/passkeys', { label, credential });
/** Gives a passkey of mine another name. */
export const renamePasskey = (id, label) => send('PATCH', `/me/passkeys/${part(id)}`, { label });
/** Removes a passkey of mine. */
export const removePasskey = (id, password) => send('POST', `/me/passkeys/${part(id)}/removal`, { password });
/** Removes a passkey that somebody else has lost. */
export const takePasskey = (name, id) => ask(`/accounts/${part(name)}/passkeys/${part(id)}`, {}, { method: 'DELETE' });

/** One page of accounts: `{items, next}`. */
export const accounts = (cursor) => ask('/accounts', { cursor });
/** One account. */
export const account = (name) => ask(`/accounts/${part(name)}`);
/** Creates an account: `{account, password}`. */
export const createAccount = (form) => send('POST', '/accounts', form);
/** Changes an account. */
export const changeAccount = (name, change) => send('PATCH', `/accounts/${part(name)}`, change);
/** Gives a one-time password: `{account, password}`. */
export const resetPassword = (name) => ask(`/accounts/${part(name)}/password`, {}, { method: 'POST' });

/** The keys that everything is checked by. */
export const trust = () => ask('/trust');
/** The seals that I may see. */
export async function seals() {
  const all = [];
  for (;;) {
    const page = await ask('/seals', { after: all.at(-1)?.seal });
    all.push(...page);
    if (page.length < PAGE) return all;
  }
}
/** Brings a seal into service. */
export const enrol = (form) => send('POST', '/seals', form);
/** Everything about a seal; `before` names the last application, receipt and finding behind which it goes on. */
export const timeline = (seal, before = {}) => ask(`/seals/${part(seal)}`, before);
/** Locks a seal, or unlocks it. */
export const lock = (seal, locked) => send('POST', `/seals/${part(seal)}/lock`, { locked });
/** Says that somebody has looked into the tampering that they saw. */
export const clear = (seal, tampered_ever) => send('POST', `/seals/${part(seal)}/clear`, { tampered_ever });
/** Takes rules that the roots have signed, base64. */
export const putPolicy = (policy) => send('POST', '/policies', { policy });
/** What does not agree. */
export const findings = (before) => ask('/findings', { before });

/** Applications that I may see. */
export const applications = (before) => ask('/applications', { before });
/** One application. */
export const application = (grant) => ask(`/applications/${part(grant)}`);
/** Applies. */
export const apply = (form) => send('POST', '/applications', form);
/** What a key signs to approve. */
export const toSign = (grant, key) => ask(`/applications/${part(grant)}/to-sign`, { key });
/** Approves: `{granted}`. */
export const approve = (grant, key, signature) => send('POST', `/applications/${part(grant)}/approvals`, { key, signature });
/** Ends an application or a grant: `how` is `rejection`, `cancellation` or `revocation`. */
export const end = (grant, how, why) => send('POST', `/applications/${part(grant)}/${how}`, { why });
/** The grant with its proof, to be carried. */
export const carried = (grant) => ask(`/applications/${part(grant)}/grant`);

/** Delegations that I may see. */
export const delegations = () => ask('/delegations');
/** Drafts a delegation of mine: `{payload, to_be_signed}`. */
export const draftDelegation = (form) => send('POST', '/delegations/draft', form);
/** Gives what I have signed: `{delegation}`. */
export const giveDelegation = (payload, key, signature) => send('POST', '/delegations', { payload, key, signature });
/** Withdraws one. */
export const withdraw = (delegation, why) => send('POST', `/delegations/${part(delegation)}/withdrawal`, { why });

/** What is known of an impression, by the digest of its receipt or of a photograph. */
export const impressions = (digest) => ask(`/impressions/${part(digest)}`);
/** The address of a photograph. */
export const pictureAddress = (digest) => `/api/v1/pictures/${part(digest)}`;
