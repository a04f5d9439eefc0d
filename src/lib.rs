//! ww
