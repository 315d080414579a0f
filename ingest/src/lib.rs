//! The city's side of Watchfire: takes frames in, keeps them, and shows what they say.

