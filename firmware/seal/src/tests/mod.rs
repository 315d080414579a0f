//! Stories of a seal in a village, told to the pure parts.

mod authority;
mod decisions;
mod delegations;
mod golden;
mod hostile;
mod policies;
mod stampings;
