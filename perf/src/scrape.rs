//! A broker's own counters, from its /metrics.

use std::io::{Read, Write};
use std::time::Duration;

use corelog::bench::{Problem, resolve};
use corelog::io::blocking::TcpStream;

use crate::broker::Facts;
use crate::limits::METRICS_PAGE_BYTES_MAX;

/// One reading of all counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page(String);

impl Page {
    /// Reads them. A core publishes its figures once a second: what has just happened shows after
    /// `PUBLISHED` only.
    pub(crate) fn read(facts: &Facts) -> Result<Page, Problem> {
        let failed = |what: String| Problem::new(format!("the broker's /metrics: {what}"));
        let Some(admin) = &facts.admin else {
            return Err(failed("it has no admin listener".to_owned()));
        };
        let read = || -> std::io::Result<Vec<u8>> {
            let address = resolve(admin).map_err(|_| std::io::ErrorKind::InvalidInput)?;
            let mut stream = TcpStream::connect(address, Duration::from_secs(5))?;
            stream.set_timeout(Some(Duration::from_secs(10)))?;
            let request =
                format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
            stream.write_all(request.as_bytes())?;
            let mut bytes = Vec::new();
            stream
                .take(METRICS_PAGE_BYTES_MAX)
                .read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(|error| failed(error.to_string()))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        match text
            .lines()
            .next()
            .is_some_and(|line| line.contains(" 200"))
        {
            true => Ok(Page(text)),
            false => Err(failed("it answers no page".to_owned())),
        }
    }

    /// The values of a counter, core by core.
    pub(crate) fn by_core(&self, name: &str) -> Vec<f64> {
        let full = format!("corelog_{name}_total{{core=\"");
        let values = self.0.lines().filter_map(|line| {
            let (_, value) = line.strip_prefix(&full)?.split_once(' ')?;
            value.trim().parse().ok()
        });
        values.collect()
    }

    /// The sum over the cores.
    pub(crate) fn sum(&self, name: &str) -> f64 {
        self.by_core(name).iter().sum()
    }
}

/// After this what has happened shows.
pub(crate) const PUBLISHED: Duration = Duration::from_millis(1200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_found_by_their_name() {
        let page = Page(
            "HTTP/1.1 200 OK\r\n\r\n# TYPE corelog_syncs_total counter\n\
             corelog_syncs_total{core=\"0\"} 12\ncorelog_syncs_total{core=\"1\"} 30\n\
             corelog_syncs_total_x{core=\"1\"} 99\n"
                .to_owned(),
        );
        assert_eq!(page.by_core("syncs"), [12.0, 30.0]);
        assert_eq!(page.sum("syncs"), 42.0);
        assert_eq!(page.sum("sync"), 0.0);
    }
}
