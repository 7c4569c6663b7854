//! The figures as tables.

use super::{
    super::{
        report::{Report, Row, Table},
        statistics::Samples,
    },
    Figures, Outcome, Peers, Traffic,
    meter::Kind,
};

const HOW: &str = "The generator sends known UDP packets, every flow in turn in changing order, through a veth pair \
    from one CPU; each meter has the other CPU. Within a repetition all take turns, and ratios and differences are \
    taken there; figures are medians (lowest to highest). Kernel: what the generator's CPU does more for a packet \
    than with no meter. Own: CPU time of the meter's processes for a packet that it has counted, until it has caught \
    up; end: what it then takes for a flow to write all down and end. Whole: all three for a packet. Exact: flows \
    with the packets and the bytes that were sent, to the last one. Memory: proportional set size of its processes at \
    the end, BPF maps apart. A meter is pmacctd 1.7 with the command line of the pipeline that flowmeter replaces \
    (each time it writes to a new file), the same with buffers of 256 MB and a cache of 400,000 flows, nfpcapd with a \
    buffer of 256 MB, softflowd with the same and room for twice the flows, which exports to nfcapd; flowmeter writes \
    every flow.";

pub(super) fn report(options: &Peers, figures: &Figures) -> Report {
    let mut tables = vec![ratios(options, figures), most(options, figures)];
    if !figures.lossless.is_empty() {
        tables.push(lossless(figures));
    }
    if !figures.tcp.is_empty() {
        tables.push(tcp(figures));
    }
    tables.retain(|table| !table.rows.is_empty());
    Report {
        name: "peers",
        title: "Beside the peers".to_owned(),
        how: format!(
            "{HOW} Runs that were thrown away and repeated since not all packets reached the interface: {}.",
            figures.void
        ),
        tables,
    }
}

/// What a packet costs in all, in nanoseconds: `own` is of a run with the same packets, maybe the same.
fn whole(kernel_ns: f64, own: &Outcome) -> f64 {
    kernel_ns + (own.own_ns + own.end_ns) / own.counted.packets as f64
}

/// What the kernel does more for a packet than without a meter, by repetition.
fn kernel_ns(figures: &Figures, traffic: Traffic, flows: u32, kind: Kind) -> Option<Vec<f64>> {
    let none = figures.most.get(&(traffic, flows, Kind::None))?;
    let these = figures.most.get(&(traffic, flows, kind))?;
    let pairs = these.iter().zip(none);
    Some(
        pairs
            .map(|(this, none)| this.sent.cpu_ns - none.sent.cpu_ns)
            .collect(),
    )
}

fn whole_most(figures: &Figures, flows: u32, kind: Kind) -> Option<Vec<f64>> {
    let kernel = kernel_ns(figures, Traffic::V4, flows, kind)?;
    let runs = figures.most.get(&(Traffic::V4, flows, kind))?;
    Some(
        kernel
            .into_iter()
            .zip(runs)
            .map(|(kernel, run)| whole(kernel, run))
            .collect(),
    )
}

/// pmacctd's costs for a packet when it loses none. The kernel's part is that of its run with losses: a packet that is
/// lost costs the kernel less, so this is at most what it should be.
fn whole_lossless(figures: &Figures, flows: u32) -> Option<Vec<f64>> {
    let kernel = kernel_ns(figures, Traffic::V4, flows, Kind::Pmacctd)?;
    let runs = figures.lossless.get(&(flows, Kind::Pmacctd))?;
    let pairs = kernel.into_iter().zip(runs);
    pairs
        .map(|(kernel, run)| Some(whole(kernel, run.as_ref()?)))
        .collect()
}

/// Nothing where there is nothing to tell: no repetition, or none of its packets counted.
fn finite(values: impl Iterator<Item = f64>) -> Option<Samples> {
    let values: Vec<f64> = values.collect();
    let told = !values.is_empty() && values.iter().all(|value| value.is_finite());
    told.then(|| values.into_iter().collect())
}

fn ratios(options: &Peers, figures: &Figures) -> Table {
    let mut rows = Vec::new();
    for &flows in &options.flows {
        for kind in [Kind::FlowmeterXdp, Kind::FlowmeterTc] {
            let Some(these) = whole_most(figures, flows, kind) else {
                continue;
            };
            let over = |other: Option<Vec<f64>>| -> Option<Samples> {
                Some(
                    these
                        .iter()
                        .zip(other?)
                        .map(|(this, other)| this / other)
                        .collect(),
                )
            };
            rows.push(Row {
                labels: vec![flows.to_string(), kind.name().to_owned()],
                cells: vec![
                    over(whole_lossless(figures, flows)),
                    over(whole_most(figures, flows, Kind::PmacctdTuned)),
                    over(whole_most(figures, flows, Kind::Nfpcapd)),
                    over(whole_most(figures, flows, Kind::Softflowd)),
                ],
            });
        }
    }
    Table {
        title: "Whole cost of a packet as a ratio to a peer's".to_owned(),
        labels: vec!["flows", "meter"],
        columns: vec![
            ("pmacctd without loss", 3),
            ("pmacctd, tuned", 3),
            ("nfpcapd", 3),
            ("softflowd", 3),
        ],
        rows,
    }
}

fn most(options: &Peers, figures: &Figures) -> Table {
    let mut rows = Vec::new();
    for (&(traffic, flows, kind), runs) in &figures.most {
        let of = |figure: fn(&Outcome) -> f64| finite(runs.iter().map(figure));
        // Of nothing there is nothing to tell but the rate.
        let of_meter = |figure: fn(&Outcome) -> f64| of(figure).filter(|_| kind != Kind::None);
        let kernel = kernel_ns(figures, traffic, flows, kind).filter(|_| kind != Kind::None);
        let pairs = kernel.iter().flatten().zip(runs);
        let whole = finite(pairs.map(|(kernel, run)| whole(*kernel, run)));
        rows.push(Row {
            labels: vec![
                traffic.name().to_owned(),
                flows.to_string(),
                kind.name().to_owned(),
            ],
            cells: vec![
                of(|run| run.rate() / 1e6),
                of_meter(|run| run.counted.packets as f64 / 1e6),
                of_meter(|run| 100.0 * run.loss()),
                of_meter(|run| 100.0 * f64::from(run.counted.exact) / f64::from(run.load.flows)),
                kernel.map(|kernel| kernel.into_iter().collect()),
                of_meter(|run| run.own_ns / run.counted.packets as f64),
                of_meter(|run| run.end_ns / f64::from(run.counted.found)),
                whole,
                of_meter(|run| run.memory.processes as f64 / 1e6),
                of_meter(|run| run.memory.maps as f64 / 1e6),
            ],
        });
    }
    Table {
        title: format!("As fast as the generator can, {} packets", options.packets),
        labels: vec!["traffic", "flows", "meter"],
        columns: vec![
            ("sent, Mpps", 2),
            ("counted, millions", 3),
            ("lost %", 3),
            ("exact flows %", 2),
            ("kernel ns", 0),
            ("own ns", 0),
            ("end, ns a flow", 0),
            ("whole ns", 0),
            ("memory MB", 0),
            ("maps MB", 0),
        ],
        rows,
    }
}

fn lossless(figures: &Figures) -> Table {
    let mut rows = Vec::new();
    for (&(flows, kind), runs) in &figures.lossless {
        let of = |figure: fn(&Outcome) -> f64| -> Samples {
            runs.iter().map(|run| run.as_ref().map_or(0.0, figure)).collect()
        };
        let generator = runs.iter().flatten().all(|run| run.load.rate.is_none());
        rows.push(Row {
            labels: vec![
                flows.to_string(),
                kind.name().to_owned(),
                if generator { "the generator" } else { "loss" }.to_owned(),
            ],
            cells: vec![
                Some(of(|run| run.rate() / 1e6)),
                Some(of(|run| 100.0 * run.loss())),
                Some(of(|run| run.own_ns / run.counted.packets as f64)),
            ],
        });
    }
    Table {
        title: "Highest rate with at most 0.1 % lost".to_owned(),
        labels: vec!["flows", "meter", "what sets the limit"],
        columns: vec![("Mpps", 2), ("lost %", 3), ("own ns", 0)],
        rows,
    }
}

fn tcp(figures: &Figures) -> Table {
    let none = figures.tcp.get(&Kind::None);
    let rows = figures.tcp.iter().map(|(kind, rates)| {
        let ratio = none.filter(|_| *kind != Kind::None).map(|none| {
            let pairs = rates.values().iter().zip(none.values());
            pairs.map(|(rate, none)| rate / none).collect()
        });
        Row {
            labels: vec![kind.name().to_owned()],
            cells: vec![
                ratio,
                Some(rates.values().iter().map(|rate| rate / 1e9).collect()),
            ],
        }
    });
    Table {
        title: "One TCP connection".to_owned(),
        labels: vec!["meter"],
        columns: vec![("over no meter", 2), ("Gbit/s", 1)],
        rows: rows.collect(),
    }
}
