//! The command line.

use std::path::PathBuf;

use corelog::io::housekeeping::wall_clock;

/// What a run is asked to do.
#[derive(Debug)]
pub(crate) struct Arguments {
    pub(crate) rounds: u32,
    pub(crate) seed: u64,
    /// The broker.
    pub(crate) binary: PathBuf,
    /// A directory of its own, which is removed when all is well.
    pub(crate) dir: PathBuf,
    /// What producers send in one round at full speed.
    pub(crate) round_bytes: u64,
    /// The program that emulates a disk with a volatile cache: rounds end in power cuts.
    pub(crate) volatile_disk: Option<PathBuf>,
    /// The data directory is on a disk that fills up in every round.
    pub(crate) small_disk: bool,
    /// Settings of the broker.
    pub(crate) overrides: Vec<String>,
    /// So many partitions are measured instead of anything else.
    pub(crate) many_partitions: Option<usize>,
}

pub(crate) fn parse(words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        rounds: 30,
        seed: wall_clock().0 as u64,
        binary: PathBuf::from("target/release/corelog"),
        dir: PathBuf::from("target/kill"),
        round_bytes: 24 << 20,
        volatile_disk: None,
        small_disk: false,
        overrides: Vec::new(),
        many_partitions: None,
    };
    let mut words = words;
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        let number = |text: String| text.parse().map_err(|_| format!("{text} is no number"));
        match word.as_str() {
            "--seed" => arguments.seed = number(value()?)?,
            "--binary" => arguments.binary = value()?.into(),
            "--dir" => arguments.dir = value()?.into(),
            "--bytes" => arguments.round_bytes = number(value()?)?,
            "--volatile-disk" => arguments.volatile_disk = Some(value()?.into()),
            "--small-disk" => arguments.small_disk = true,
            "--override" => arguments.overrides.push(value()?),
            "--many-partitions" => arguments.many_partitions = Some(number(value()?)? as usize),
            rounds => arguments.rounds = number(rounds.to_owned())? as u32,
        }
    }
    Ok(arguments)
}
