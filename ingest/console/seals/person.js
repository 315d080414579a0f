// Who is logged in at this browser, and what their roles let them do. The server decides; knowing it here spares people
// what would be refused.
import { mark, recall, remember } from '../store.js';
import * as office from './office.js';

// As ingest/src/people/role.rs has it.
const MAY = {
  apply: ['applicant'], approve: ['approver'], seeApplications: ['approver', 'auditor', 'operator'], seeAudit: ['auditor', 'admin'], enrol: ['installer'],
  lock: ['approver', 'operator', 'installer'], clear: ['operator'], revoke: ['approver', 'operator'], withdraw: ['admin'], manage: ['admin'],
};

/** All roles. */
export const ROLES = ['applicant', 'approver', 'auditor', 'operator', 'installer', 'admin'];

let session = null;

/** The account that is logged in, or null. */
export const person = () => session?.account ?? null;

/** Whether a password has to be chosen before anything else. */
export const mustChoose = () => session?.choose_password ?? false;

/** Whether something takes a passkey that was not shown in this session: approving, and registering keys for it. */
export const needsPasskey = () => Boolean(office.origin) && session?.passkey_ms === null;

const covers = (scope, area) => scope === '*' || scope === area || area.startsWith(`${scope}/`);

/** Whether the roles let this person do something in an area, or in any when none is named. */
export const may = (action, area = null) => person()?.roles.some((duty) => MAY[action].includes(duty.role) && (area === null || covers(duty.area, area))) ?? false;

/** The roles that something takes. */
export const rolesFor = (action) => MAY[action];

function take(next) {
  session = next;
  // Kept so that who never logs in here is never asked about.
  remember('wasHere', Boolean(next));
  mark('person');
}

/** Learns who is logged in, if anybody was. */
export async function learn() {
  if (!recall('wasHere', false)) return;
  try { take(await office.session()); } catch (error) { if (error.status === 401) take(null); }
}

/** Logs in; `show(options)` is asked for a passkey if one has to be shown. */
export async function enter(name, password, show) {
  const answer = await office.enter(name, password);
  take(answer.attempt ? await office.enterWithPasskey(answer.attempt, await show(answer.options)) : answer);
}

/** Logs out. A session that is over already is fine. */
export async function leave() {
  try { await office.leave(); } catch (error) { if (error.status !== 401) throw error; }
  take(null);
}

/** The session is over: whoever finds out says so. */
export const forget = () => { if (session) take(null); };
