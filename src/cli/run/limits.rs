//! `--limit`: what the first cell, and all that it spawns, may use.

use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, bail};
use bytesize::ByteSize;
use ww::bounds::Bounds;

/// One bound, `NAME=VALUE`.
#[derive(Clone, Debug)]
pub enum LimitArg {
    Memory(u64),
    Fuel(u64),
    Cpu(NonZeroU32),
    Time(Duration),
    Message(u64),
    Calls(u32),
    Streams(u64),
    Cells(u64),
    Depth(u32),
    Tmp(u64),
    Var(u64),
    Files(u64),
    Content(u64),
}

/// What can be limited, for errors and for the help.
pub const NAMES: &str = "memory=64MiB, cpu=50%, fuel=1000000, time=10s, message=1MiB, calls=100, \
                         streams=30, cells=10, depth=2, tmp=16MiB, var=1GiB, files=100, content=1GiB";

/// One argument: one or more bounds, with commas between them.
#[derive(Clone, Debug)]
pub struct LimitArgs(Vec<LimitArg>);

impl FromStr for LimitArgs {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        text.split(',')
            .map(str::parse)
            .collect::<anyhow::Result<_>>()
            .map(Self)
    }
}

impl FromStr for LimitArg {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let Some((name, value)) = text.split_once('=') else {
            bail!("a limit is NAME=VALUE, such as {NAMES}");
        };
        let limit = match name {
            "memory" => Self::Memory(bytes(value)?),
            "fuel" => Self::Fuel(positive(value)?),
            "cpu" => Self::Cpu(percent(value)?),
            "time" => Self::Time(time(value)?),
            "message" => Self::Message(bytes(value)?),
            "calls" => Self::Calls(positive(value)?),
            "streams" => Self::Streams(positive(value)?),
            "cells" => Self::Cells(positive(value)?),
            "depth" => Self::Depth(positive(value)?),
            "tmp" => Self::Tmp(bytes(value)?),
            "var" => Self::Var(bytes(value)?),
            "files" => Self::Files(positive(value)?),
            "content" => Self::Content(bytes(value)?),
            _ => bail!("there is no limit `{name}`; there are {NAMES}"),
        };
        Ok(limit)
    }
}

/// The bounds that the operator asks for. Of two for one thing the later counts.
pub fn bounds(args: &[LimitArgs]) -> Bounds {
    let mut bounds = Bounds::default();
    let allotment = &mut bounds.allotment;
    for limit in args.iter().flat_map(|LimitArgs(limits)| limits) {
        match *limit {
            LimitArg::Memory(bytes) => allotment.memory_bytes = Some(bytes),
            LimitArg::Fuel(fuel) => allotment.fuel = Some(fuel),
            LimitArg::Cpu(share) => allotment.cpu_share = Some(share),
            LimitArg::Time(time) => allotment.wall_time = Some(time),
            LimitArg::Streams(streams) => allotment.streams = Some(streams),
            LimitArg::Cells(cells) => allotment.cells = Some(cells),
            LimitArg::Depth(depth) => allotment.depth = Some(depth),
            LimitArg::Tmp(bytes) => allotment.tmp_bytes = Some(bytes),
            LimitArg::Var(bytes) => allotment.var_bytes = Some(bytes),
            LimitArg::Files(files) => allotment.files = Some(files),
            LimitArg::Content(bytes) => allotment.content_bytes = Some(bytes),
            LimitArg::Message(bytes) => bounds.message_bytes = Some(bytes),
            LimitArg::Calls(calls) => bounds.calls = Some(calls),
        }
    }
    bounds
}

fn bytes(value: &str) -> anyhow::Result<u64> {
    match value.parse::<ByteSize>() {
        Ok(size) if size.as_u64() > 0 => Ok(size.as_u64()),
        _ => bail!("`{value}` is no size; 64MiB is one"),
    }
}

fn positive<T: FromStr + Default + PartialEq>(value: &str) -> anyhow::Result<T> {
    match value.parse::<T>() {
        Ok(number) if number != T::default() => Ok(number),
        _ => bail!("`{value}` is no number above 0"),
    }
}

fn percent(value: &str) -> anyhow::Result<NonZeroU32> {
    let digits = value
        .strip_suffix('%')
        .context("a share of a processor core is written 50%")?;
    let share: u32 = positive(digits)?;
    NonZeroU32::new(share).context("a share is above 0%")
}

fn time(value: &str) -> anyhow::Result<Duration> {
    match humantime::parse_duration(value) {
        Ok(time) if !time.is_zero() => Ok(time),
        _ => bail!("`{value}` is no time; 10s and 5m are"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn bounds_of(args: &[&str]) -> anyhow::Result<Bounds> {
        let args: Vec<LimitArgs> = args
            .iter()
            .map(|arg| arg.parse())
            .collect::<Result<_, _>>()?;
        Ok(bounds(&args))
    }

    #[test]
    fn limits_come_one_by_one_or_with_commas() {
        let together = bounds_of(&["memory=64MiB,cpu=50%,time=10s"]).unwrap();
        assert_eq!(together.allotment.memory_bytes, Some(64 << 20));
        assert_eq!(together.allotment.cpu_share, NonZeroU32::new(50));
        assert_eq!(together.allotment.wall_time, Some(Duration::from_secs(10)));
        let apart = bounds_of(&["memory=1KiB", "cpu=50%", "memory=64MiB", "time=10s"]).unwrap();
        assert_eq!(together.allotment, apart.allotment);
    }

    #[test]
    fn every_limit_that_the_help_names_is_one() {
        for limit in NAMES.split(", ") {
            bounds_of(&[limit]).unwrap();
        }
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for (text, told) in [
            ("memory", "a limit is NAME=VALUE, such as memory=64MiB"),
            (
                "memori=1",
                "there is no limit `memori`; there are memory=64MiB",
            ),
            ("memory=0", "`0` is no size"),
            ("memory=-1", "`-1` is no size"),
            ("cpu=50", "a share of a processor core is written 50%"),
            ("cpu=0%", "`0` is no number above 0"),
            ("time=soon", "`soon` is no time"),
            ("calls=99999999999", "`99999999999` is no number"),
        ] {
            let error = bounds_of(&[text]).err().unwrap().to_string();
            assert!(error.starts_with(told), "{error}");
        }
    }
}
