//! One file per chip or field protocol.
#![no_std]
