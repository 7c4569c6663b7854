//! What is on the dashboards: one entry a panel, a search, a dashboard.

use serde_json::{Value, json};

use super::Query::{self, Dql, Lucene};

pub(super) struct Panel {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) chart: Chart,
    pub(super) query: Query,
    pub(super) metric: Metric,
    /// Over time first, if at all.
    pub(super) over_time: bool,
    /// The largest of each field, the first outermost.
    pub(super) by: &'static [&'static str],
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Chart {
    Bars,
    Columns,
    Area,
    Donut,
    Table,
}

#[derive(Clone, Copy)]
pub(super) enum Metric {
    Count,
    Sum(&'static str),
    Max(&'static str),
}

pub(super) struct Search {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) query: Query,
    pub(super) columns: &'static [&'static str],
}

pub(super) struct Dashboard {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    /// x, y, width and height, in the grid of 48 columns.
    pub(super) panels: &'static [(&'static str, [u32; 4])],
}

impl Chart {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Bars => "horizontal_bar",
            Self::Columns => "histogram",
            Self::Area => "area",
            Self::Donut => "pie",
            Self::Table => "table",
        }
    }
}

impl Panel {
    pub(super) fn aggregations(&self) -> Value {
        let metric = match self.metric {
            Metric::Count => {
                json!({"id": "1", "enabled": true, "type": "count", "schema": "metric", "params": {}})
            }
            Metric::Sum(field) => {
                json!({"id": "1", "enabled": true, "type": "sum", "schema": "metric", "params": {"field": field}})
            }
            Metric::Max(field) => {
                json!({"id": "1", "enabled": true, "type": "max", "schema": "metric", "params": {"field": field}})
            }
        };
        let mut aggregations = vec![metric];
        if self.over_time {
            aggregations.push(json!({
                "id": "2", "enabled": true, "type": "date_histogram", "schema": "segment",
                "params": {"field": "timestamp", "useNormalizedEsInterval": true, "scaleMetricValues": false,
                           "interval": "auto", "drop_partials": false, "min_doc_count": 1, "extended_bounds": {}},
            }));
        }
        for field in self.by {
            let first = aggregations.len() == 1;
            let schema = match self.chart {
                Chart::Table => "bucket",
                Chart::Donut => "segment",
                _ if first => "segment",
                _ => "group",
            };
            aggregations.push(json!({
                "id": (aggregations.len() + 1).to_string(), "enabled": true, "type": "terms", "schema": schema,
                "params": {"field": field, "orderBy": "1", "order": "desc", "size": 10, "otherBucket": false,
                           "otherBucketLabel": "Other", "missingBucket": false, "missingBucketLabel": "Missing"},
            }));
        }
        aggregations.into()
    }

    pub(super) fn parameters(&self) -> Value {
        let kind = self.chart.name();
        match self.chart {
            Chart::Donut => json!({
                "type": kind, "addTooltip": true, "addLegend": true, "legendPosition": "right", "isDonut": true,
                "labels": {"show": false, "values": true, "last_level": true, "truncate": 100},
            }),
            Chart::Table => json!({
                "perPage": 10, "showPartialRows": false, "showMetricsAtAllLevels": false, "showTotal": false,
                "totalFunc": "sum", "percentageCol": "",
            }),
            Chart::Bars | Chart::Columns | Chart::Area => {
                let lying = self.chart == Chart::Bars;
                let shape = if self.chart == Chart::Area {
                    "area"
                } else {
                    "histogram"
                };
                let label = match self.metric {
                    Metric::Count => "Count".to_owned(),
                    Metric::Sum(field) => format!("Sum of {field}"),
                    Metric::Max(field) => format!("Max {field}"),
                };
                json!({
                    "type": kind,
                    "grid": {"categoryLines": false},
                    "categoryAxes": [{
                        "id": "CategoryAxis-1", "type": "category", "show": true, "style": {}, "title": {},
                        "position": if lying { "left" } else { "bottom" },
                        "scale": {"type": "linear"},
                        "labels": {"show": true, "rotate": 0, "filter": !lying, "truncate": 200},
                    }],
                    "valueAxes": [{
                        "id": "ValueAxis-1", "name": "LeftAxis-1", "type": "value", "show": true, "style": {},
                        "position": if lying { "bottom" } else { "left" },
                        "scale": {"type": "linear", "mode": "normal"},
                        "labels": {"show": true, "rotate": 0, "filter": lying, "truncate": 100},
                        "title": {"text": label},
                    }],
                    "seriesParams": [{
                        "show": true, "type": shape, "mode": "stacked", "data": {"label": label, "id": "1"},
                        "valueAxis": "ValueAxis-1", "drawLinesBetweenPoints": true, "lineWidth": 2,
                        "showCircles": true,
                    }],
                    "addTooltip": true, "addLegend": true, "legendPosition": "right", "times": [],
                    "addTimeMarker": false, "labels": {},
                    "thresholdLine": {"show": false, "value": 10, "width": 1, "style": "full", "color": "#E7664C"},
                })
            }
        }
    }
}

const ANOMALIES: Query = Dql("rule.groups:network_anomaly");
/// With the optional flow rules only.
const FLOWS: Query = Dql("rule.groups:netflow and data.event.action:(network_flow or network_flow_summary)");
const OUTBOUND: Query = Dql(
    "rule.groups:netflow and data.event.action:(network_flow or network_flow_summary) and data.flow.direction:internal_to_external",
);
const LATERAL: Query = Dql(
    "rule.id:117004 or (rule.groups:netflow and data.flow.direction:internal_to_internal and data.destination.port:(22 or 445 or 3389 or 5985 or 5986 or 1433 or 3306))",
);
const STATISTICS: Query = Dql("rule.groups:netflow and data.event.action:statistics");

pub(super) const PANELS: &[Panel] = &[
    Panel {
        id: "netflow-alerts-by-rule",
        title: "NetFlow: Alerts by rule",
        description: "Which detections fire most.",
        chart: Chart::Table,
        query: ANOMALIES,
        metric: Metric::Count,
        over_time: false,
        by: &["rule.id", "rule.description"],
    },
    Panel {
        id: "netflow-anomaly-timeline",
        title: "NetFlow: Anomalies over time",
        description: "When suspicious activity spikes.",
        chart: Chart::Columns,
        query: ANOMALIES,
        metric: Metric::Count,
        over_time: true,
        by: &["rule.id"],
    },
    Panel {
        id: "netflow-anomaly-sources",
        title: "NetFlow: Sources of anomalies",
        description: "Hosts with the most findings, by rule.",
        chart: Chart::Bars,
        query: ANOMALIES,
        metric: Metric::Count,
        over_time: false,
        by: &["data.source.ip", "rule.id"],
    },
    Panel {
        id: "netflow-anomaly-techniques",
        title: "NetFlow: ATT&CK techniques",
        description: "As the findings name them.",
        chart: Chart::Donut,
        query: ANOMALIES,
        metric: Metric::Count,
        over_time: false,
        by: &["data.threat.technique.id"],
    },
    Panel {
        id: "netflow-top-sources",
        title: "NetFlow: Top sources by bytes",
        description: "Who sends the most data; merged flows count where their summary names the source. Needs the flow rules and the index template.",
        chart: Chart::Bars,
        query: FLOWS,
        metric: Metric::Sum("data.source.bytes"),
        over_time: false,
        by: &["data.source.ip"],
    },
    Panel {
        id: "netflow-top-destinations",
        title: "NetFlow: Top destinations by bytes",
        description: "Who is sent the most data; merged flows count where their summary names the destination. Needs the flow rules and the index template.",
        chart: Chart::Bars,
        query: FLOWS,
        metric: Metric::Sum("data.source.bytes"),
        over_time: false,
        by: &["data.destination.ip"],
    },
    Panel {
        id: "netflow-protocols",
        title: "NetFlow: Protocols",
        description: "Bytes by protocol. Needs the flow rules and the index template.",
        chart: Chart::Donut,
        query: FLOWS,
        metric: Metric::Sum("data.network.bytes"),
        over_time: false,
        by: &["data.flow.protocol"],
    },
    Panel {
        id: "netflow-directions",
        title: "NetFlow: Directions",
        description: "Bytes inside, out, in and through. Needs the flow rules and the index template.",
        chart: Chart::Donut,
        query: FLOWS,
        metric: Metric::Sum("data.network.bytes"),
        over_time: false,
        by: &["data.flow.direction"],
    },
    Panel {
        id: "netflow-services",
        title: "NetFlow: Ports and services",
        description: "Bytes by service. Needs the flow rules and the index template.",
        chart: Chart::Table,
        query: FLOWS,
        metric: Metric::Sum("data.network.bytes"),
        over_time: false,
        by: &["data.destination.port", "data.service.name"],
    },
    Panel {
        id: "netflow-outbound-over-time",
        title: "NetFlow: Outbound bytes over time",
        description: "What inside hosts send out. Needs the flow rules and the index template.",
        chart: Chart::Area,
        query: OUTBOUND,
        metric: Metric::Sum("data.source.bytes"),
        over_time: true,
        by: &["data.source.ip"],
    },
    Panel {
        id: "netflow-merged",
        title: "NetFlow: Flows in summaries",
        description: "Flows over the line budget, merged; by direction. The other panels have their bytes. Needs the flow rules and the index template.",
        chart: Chart::Columns,
        query: Dql("rule.groups:netflow and data.event.action:network_flow_summary"),
        metric: Metric::Sum("data.flow.merged.flows"),
        over_time: true,
        by: &["data.flow.direction"],
    },
    Panel {
        id: "netflow-lateral-candidates",
        title: "NetFlow: Lateral movement candidates",
        description: "Findings and, with the flow rules, inside connections to administrative services.",
        chart: Chart::Table,
        query: LATERAL,
        metric: Metric::Count,
        over_time: false,
        by: &["data.source.ip", "data.destination.ip", "data.destination.port"],
    },
    Panel {
        id: "netflow-health-alerts",
        title: "NetFlow: Trouble of meters",
        description: "Losses, withheld events, silence.",
        chart: Chart::Table,
        query: Dql("rule.groups:netflow_health"),
        metric: Metric::Count,
        over_time: false,
        by: &["agent.name", "rule.id", "rule.description"],
    },
    Panel {
        id: "netflow-health-seen",
        title: "NetFlow: Packets seen",
        description: "By collector. Needs the flow rules and the index template.",
        chart: Chart::Area,
        query: STATISTICS,
        metric: Metric::Sum("data.flowmeter.seen.packets"),
        over_time: true,
        by: &["data.collector.name"],
    },
    Panel {
        id: "netflow-health-lost",
        title: "NetFlow: Packets that found no room",
        description: "By collector; every one of them is one too many. Needs the index template.",
        chart: Chart::Columns,
        query: STATISTICS,
        metric: Metric::Sum("data.flowmeter.lost.map_full.packets"),
        over_time: true,
        by: &["data.collector.name"],
    },
    Panel {
        id: "netflow-health-withheld",
        title: "NetFlow: Events withheld",
        description: "By collector. Needs the index template.",
        chart: Chart::Columns,
        query: STATISTICS,
        metric: Metric::Sum("data.flowmeter.withheld.lines"),
        over_time: true,
        by: &["data.collector.name"],
    },
    Panel {
        id: "netflow-health-map",
        title: "NetFlow: Flows in the map",
        description: "The most in an interval, by collector; against data.flowmeter.map.capacity. Needs the flow rules and the index template.",
        chart: Chart::Bars,
        query: STATISTICS,
        metric: Metric::Max("data.flowmeter.map.entries"),
        over_time: false,
        by: &["data.collector.name"],
    },
];

const FINDING: &[&str] = &[
    "rule.id",
    "rule.level",
    "data.message",
    "data.source.ip",
    "data.destination.ip",
    "data.destination.port",
    "data.anomaly.confidence",
    "data.anomaly.episode",
];
const FLOW: &[&str] = &[
    "data.source.ip",
    "data.destination.ip",
    "data.destination.port",
    "data.service.name",
    "data.flow.direction",
    "data.flow.outcome",
    "data.network.bytes",
    "data.network.packets",
    "data.event.duration",
];

pub(super) const SEARCHES: &[Search] = &[
    Search {
        id: "netflow-search-all",
        title: "NetFlow: All events",
        description: "Findings, and flows and statistics with the flow rules.",
        query: Dql("rule.groups:netflow"),
        columns: FINDING,
    },
    Search {
        id: "netflow-search-findings",
        title: "NetFlow: Findings",
        description: "Starts of episodes, rules 117001 to 117009.",
        query: Lucene("rule.groups:netflow AND rule.id:[117001 TO 117009]"),
        columns: FINDING,
    },
    Search {
        id: "netflow-search-high",
        title: "NetFlow: High severity",
        description: "Anomalies of level 10 and more.",
        query: Dql("rule.groups:network_anomaly and rule.level >= 10"),
        columns: FINDING,
    },
    Search {
        id: "netflow-search-confident",
        title: "NetFlow: Confident findings",
        description: "What the detectors are sure of.",
        query: Dql("rule.groups:network_anomaly and data.anomaly.confidence:high"),
        columns: FINDING,
    },
    Search {
        id: "netflow-search-scans",
        title: "NetFlow: Scans and their escalation",
        description: "With those of authorised scanners left out.",
        query: Dql("rule.id:(117001 or 117009 or 117013)"),
        columns: FINDING,
    },
    Search {
        id: "netflow-search-exfiltration",
        title: "NetFlow: Possible exfiltration",
        description: "High outbound volume.",
        query: Dql("rule.id:117002"),
        columns: FINDING,
    },
    Search {
        id: "netflow-search-beacons",
        title: "NetFlow: Beacons",
        description: "With period and jitter.",
        query: Dql("rule.id:117003"),
        columns: &[
            "data.message",
            "data.source.ip",
            "data.destination.ip",
            "data.destination.port",
            "data.anomaly.period.seconds",
            "data.anomaly.period.jitter_seconds",
            "data.anomaly.period.next",
        ],
    },
    Search {
        id: "netflow-search-lateral",
        title: "NetFlow: Lateral movement candidates",
        description: "Findings and, with the flow rules, every inside connection to an administrative service.",
        query: LATERAL,
        columns: FLOW,
    },
    Search {
        id: "netflow-search-dns",
        title: "NetFlow: DNS",
        description: "Suspicious DNS and all DNS flows.",
        query: Dql("rule.id:117005 or (rule.groups:netflow and data.destination.port:53)"),
        columns: FLOW,
    },
    Search {
        id: "netflow-search-inbound",
        title: "NetFlow: Inbound to sensitive services",
        description: "Exposed services and guesses at passwords.",
        query: Dql("rule.id:117006"),
        columns: FINDING,
    },
    Search {
        id: "netflow-search-ports",
        title: "NetFlow: Unusual outbound ports",
        description: "",
        query: Dql("rule.id:117007"),
        columns: FINDING,
    },
    Search {
        id: "netflow-search-floods",
        title: "NetFlow: Floods",
        description: "",
        query: Dql("rule.id:117008"),
        columns: FINDING,
    },
    Search {
        id: "netflow-search-uploads",
        title: "NetFlow: Flows that sent over 50 MB out",
        description: "In one interval. Needs the flow rules and the index template.",
        query: Lucene(
            "rule.groups:netflow AND data.flow.direction:internal_to_external AND data.source.bytes:[52428800 TO *]",
        ),
        columns: FLOW,
    },
    Search {
        id: "netflow-search-long",
        title: "NetFlow: Connections of over an hour",
        description: "Needs the flow rules and the index template.",
        query: Lucene(
            "rule.groups:netflow AND data.event.action:network_flow AND data.event.duration:[3600 TO *]",
        ),
        columns: FLOW,
    },
    Search {
        id: "netflow-search-refused",
        title: "NetFlow: Refused inside connections",
        description: "Closed ports that an inside host tried. Needs the flow rules.",
        query: Dql(
            "rule.groups:netflow and data.flow.direction:internal_to_internal and data.flow.outcome:refused",
        ),
        columns: FLOW,
    },
    Search {
        id: "netflow-search-health",
        title: "NetFlow: Trouble of meters",
        description: "Losses, withheld events, silence.",
        query: Dql("rule.groups:netflow_health"),
        columns: &["agent.name", "rule.id", "rule.description"],
    },
];

pub(super) const DASHBOARDS: &[Dashboard] = &[
    Dashboard {
        id: "netflow-dashboard-anomalies",
        title: "NetFlow: Anomalies",
        description: "Findings of the meters.",
        panels: &[
            ("netflow-anomaly-timeline", [0, 0, 32, 14]),
            ("netflow-anomaly-techniques", [32, 0, 16, 14]),
            ("netflow-alerts-by-rule", [0, 14, 24, 14]),
            ("netflow-anomaly-sources", [24, 14, 24, 14]),
            ("netflow-lateral-candidates", [0, 28, 48, 12]),
            ("netflow-search-findings", [0, 40, 48, 18]),
        ],
    },
    Dashboard {
        id: "netflow-dashboard-traffic",
        title: "NetFlow: Traffic",
        description: "Needs the optional flow rules, and the index template for sums.",
        panels: &[
            ("netflow-outbound-over-time", [0, 0, 48, 13]),
            ("netflow-top-sources", [0, 13, 24, 14]),
            ("netflow-top-destinations", [24, 13, 24, 14]),
            ("netflow-protocols", [0, 27, 12, 13]),
            ("netflow-directions", [12, 27, 12, 13]),
            ("netflow-services", [24, 27, 24, 13]),
            ("netflow-merged", [0, 40, 48, 12]),
        ],
    },
    Dashboard {
        id: "netflow-dashboard-health",
        title: "NetFlow: Meter health",
        description: "What the meters saw, lost and withheld.",
        panels: &[
            ("netflow-health-seen", [0, 0, 48, 12]),
            ("netflow-health-lost", [0, 12, 24, 12]),
            ("netflow-health-withheld", [24, 12, 24, 12]),
            ("netflow-health-alerts", [0, 24, 32, 14]),
            ("netflow-health-map", [32, 24, 16, 14]),
        ],
    },
];
