//! `corelog doctor`: can this machine run a broker well, and if not, what helps?
//!
//! It reads what the kernel says in /proc and /sys, tries a ring, direct I/O and data syncs in the
//! data directory, looks at the ports and the configuration, spins on every CPU for a moment, and
//! asks a running broker if one is named. It changes nothing, and needs neither root nor io_uring:
//! what it could not look at is said. A check is a decision about text (`System`), so that it has
//! a table of cases as its test.

mod check;
mod report;
mod system;

mod kernel;

mod processors;

mod memory;

mod disk;

mod network;

mod broker;

mod jitter;

mod probe;

pub(super) use self::check::Area;

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use self::report::Report;
use self::system::Machine;
use super::arguments::{DoctorArguments, OutputFormat, StartArguments};
use super::failure::Failure;
use super::screen::Screen;
use super::{node, start};
use crate::config;
use crate::io::blocking;

/// The exit code of a check that failed, or of a warning with `--strict`.
const FAILED: u8 = 2;

/// Runs the command. `Ok` tells how the machine is; `Err` is a wrong command line only.
pub(super) fn run(arguments: &DoctorArguments) -> Result<ExitCode, Failure> {
    let mut checks = Vec::new();
    let wanted = |area: Area| arguments.only.is_empty() || arguments.only.contains(&area);
    let settings = settings(arguments);
    let (config, configuration) = match settings {
        Ok((config, notices)) => (config, broker::lint(arguments.config.as_deref(), &notices)),
        Err(failure) => (defaults()?, vec![broker::refused(&failure)]),
    };
    let machine = Machine;
    let cores = node::cores(&config);
    let cpus: Vec<usize> = cores.iter().filter_map(|core| core.cpu).collect();
    let data_dir = arguments.data_dir.as_deref().unwrap_or(&config.data_dir);
    if wanted(Area::Kernel) || wanted(Area::Disk) {
        let probe = probe::run(data_dir);
        checks.extend(kernel::checks(&machine, cores.len(), &probe));
        checks.extend(disk::checks(&machine, data_dir, &probe));
    }
    checks.extend(processors::checks(
        &machine,
        &cpus,
        cores.len(),
        config.engine.spin,
    ));
    checks.extend(memory::checks(&machine, cores.len()));
    if wanted(Area::Network) {
        checks.extend(network::checks(&machine, &config, cores.len()));
    }
    if wanted(Area::Broker) {
        checks.extend(configuration);
        if let Some(bootstrap) = &arguments.bootstrap_server {
            checks.extend(broker::ask(bootstrap));
        }
    }
    if wanted(Area::Jitter) && !arguments.jitter.is_zero() {
        checks.extend(jitter::checks(&machine, arguments.jitter));
    }
    checks.retain(|check| wanted(check.area()));
    show(arguments, Report::new(checks))
}

fn show(arguments: &DoctorArguments, report: Report) -> Result<ExitCode, Failure> {
    let format = match arguments.json {
        true => OutputFormat::Json,
        false => OutputFormat::Table,
    };
    let coloured = blocking::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut screen = Screen::new(blocking::stdout(), format);
    screen.show(
        || report.text(arguments.verbose, coloured),
        || report.to_json(),
    )?;
    Ok(match report.is_failed(arguments.strict) {
        true => ExitCode::from(FAILED),
        false => ExitCode::SUCCESS,
    })
}

type Resolved = (config::BrokerConfig, Vec<config::Notice>);

/// The configuration that `corelog start` would run with.
fn settings(arguments: &DoctorArguments) -> Result<Resolved, Failure> {
    start::resolved(&StartArguments {
        file: arguments.config.clone(),
        overrides: arguments.overrides.clone(),
        ..StartArguments::default()
    })
}

/// The embedded defaults, for the checks that need some configuration.
fn defaults() -> Result<config::BrokerConfig, Failure> {
    let sources = config::Sources {
        file: None,
        environment: Vec::new(),
        overrides: Vec::new(),
    };
    let (values, _) = config::load(&sources).map_err(start::refuse)?;
    config::resolve(values).map_err(start::refuse)
}

/// The directory itself, or the nearest one above it that exists.
fn existing(path: &Path) -> std::path::PathBuf {
    let path = blocking::absolute(path);
    let found = path
        .ancestors()
        .find(|above| blocking::mount_of(above).is_some());
    found.unwrap_or(Path::new("/")).to_path_buf()
}
