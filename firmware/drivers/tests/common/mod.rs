//! A small vocabulary for the drivers' tests: what goes over the bus, and futures without a runtime.
#![allow(dead_code, unused_imports, reason = "each test file speaks a part of it")]

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

pub(crate) use embedded_hal::i2c::{ErrorKind, NoAcknowledgeSource};
pub(crate) use embedded_hal_mock::eh1::i2c::{Mock, Transaction};

/// Nobody pulls the line down behind the address.
pub(crate) const NOBODY: ErrorKind = ErrorKind::NoAcknowledge(NoAcknowledgeSource::Address);

pub(crate) fn write(address: u8, bytes: &[u8]) -> Transaction {
    Transaction::write(address, bytes.to_vec())
}

pub(crate) fn read(address: u8, bytes: &[u8]) -> Transaction {
    Transaction::read(address, bytes.to_vec())
}

pub(crate) fn write_read(address: u8, bytes: &[u8], answer: &[u8]) -> Transaction {
    Transaction::write_read(address, bytes.to_vec(), answer.to_vec())
}

/// Runs a future that never really waits, as those over a mock.
pub(crate) fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}
