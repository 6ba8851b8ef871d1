//! What is measured, as Prometheus reads it. Pure: from one observation to text.
//!
//! Counters are counted per core without locks and folded when somebody asks; see [`shard::stats`].

use crate::observe::{Observed, StoreState};
use prometheus::TextEncoder;
use prometheus::proto::{Bucket, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType};
use shard::stats::{RowSnapshot, StoreSnapshot, bucket_nanos};

/// All metrics in the text format.
pub(crate) fn render(observed: &Observed) -> String {
    let mut families = process(observed);
    families.extend(procedures(observed));
    families.extend(network(observed));
    families.extend(cache(observed));
    families.extend(stores(observed));
    families.extend(counted(observed));
    // A server that starts has no rows and no stores yet.
    families.retain(|family| !family.get_metric().is_empty());
    TextEncoder::new().encode_to_string(&families).expect("every family has a name, and a metric")
}

fn process(observed: &Observed) -> Vec<MetricFamily> {
    let version = [label("version", env!("CARGO_PKG_VERSION"))];
    vec![
        gauges("basalt_info", "The version that runs.", [metric_gauge(&version, 1)]),
        gauge("basalt_ready", "Whether shares answer.", u64::from(observed.ready)),
        gauge("basalt_start_time_seconds", "When the process started, since 1970.", observed.started_secs),
    ]
}

fn procedures(observed: &Observed) -> Vec<MetricFamily> {
    let rows: Vec<(Vec<LabelPair>, &RowSnapshot)> = observed.rows().map(|(names, row)| (of(names), row)).collect();
    let per_row = |name, help, value: fn(&RowSnapshot) -> u64| {
        counters(name, help, rows.iter().map(|(labels, row)| metric_counter(labels, value(row))))
    };
    let mut families = vec![
        per_row("basalt_calls_total", "Calls answered, by procedure.", |row| row.calls),
        per_row("basalt_call_errors_total", "Calls answered with a status other than success.", |row| row.errors),
        per_row("basalt_call_bytes_total", "Bytes of the calls.", |row| row.bytes_in),
        per_row("basalt_reply_bytes_total", "Bytes of the replies.", |row| row.bytes_out),
    ];
    let used = rows.iter().filter(|(_, row)| row.calls > 0);
    let durations: Vec<Metric> = used.map(|(labels, row)| metric_histogram(labels, row)).collect();
    let help = "From a call's last byte to its reply being queued, by procedure; those not called are left out.";
    families.push(family("basalt_call_duration_seconds", help, MetricType::HISTOGRAM, durations));
    families
}

fn network(observed: &Observed) -> Vec<MetricFamily> {
    let sum = &observed.cores;
    vec![
        gauge("basalt_silent_cores", "Cores that were too busy to tell their counters.", observed.silent_cores),
        counter("basalt_rpc_errors_total", "Calls answered with an error of the RPC layer.", sum.rpc_errors),
        gauge("basalt_connections", "Connections open now.", sum.connections),
        counter("basalt_connections_accepted_total", "Connections taken.", sum.accepted),
        counter(
            "basalt_connections_refused_total",
            "Connections closed because a limit was reached.",
            observed.refused,
        ),
        counter(
            "basalt_connections_dropped_total",
            "Connections closed because the peer stalled or garbled.",
            sum.dropped,
        ),
        gauge("basalt_requests_in_flight", "Requests that wait for disk, log or ledger.", sum.in_flight),
        gauge("basalt_held_bytes", "Bytes of requests and replies in memory.", sum.bytes_held),
        counter("basalt_read_stalls_total", "Times that a connection was not read at a limit.", sum.stalls),
    ]
}

fn stores(observed: &Observed) -> Vec<MetricFamily> {
    let labelled = |store: &StoreState| [label("share", &store.share)];
    let per_store_gauge = |name, help, value: fn(&StoreState) -> u64| {
        gauges(name, help, observed.stores.iter().map(|store| metric_gauge(&labelled(store), value(store))))
    };
    let per_store_counter = |name, help, value: fn(&StoreState) -> u64| {
        counters(name, help, observed.stores.iter().map(|store| metric_counter(&labelled(store), value(store))))
    };
    vec![
        per_store_gauge("basalt_store_read_only", "1 after a failed write, until a restart.", |it| {
            u64::from(it.failed)
        }),
        per_store_gauge("basalt_store_capacity_bytes", "Bytes that the share may use.", |it| it.capacity_bytes),
        per_store_gauge("basalt_store_free_bytes", "Bytes that can still be used.", |it| it.free_bytes),
        per_store_gauge("basalt_store_live_bytes", "Bytes of the log that files use.", |it| it.live_bytes),
        per_store_gauge("basalt_store_inodes", "Files, directories and everything else.", |it| it.inodes),
        per_store_gauge("basalt_store_segments", "Segments of the log in use.", |it| it.segments),
        per_store_counter("basalt_store_corrupt_total", "Rows of the ledger that failed their checksum.", |it| {
            it.corrupt
        }),
        per_store_counter("basalt_store_replays_total", "Requests answered with the reply kept for them.", |it| {
            it.replays
        }),
        per_store_counter("basalt_store_commits_total", "Commits of the ledger.", |it| it.commits),
        per_store_counter("basalt_store_checkpoints_total", "Checkpoints of the ledger.", |it| it.checkpoints),
        per_store_gauge("basalt_store_recent_bytes", "Memory of the ledger's rows that wait for a checkpoint.", |it| {
            it.recent_bytes
        }),
        per_store_counter("basalt_store_log_sequence", "Highest log sequence number.", |it| it.log_sequence),
    ]
}

fn cache(observed: &Observed) -> Vec<MetricFamily> {
    let cache = &observed.cores.cache;
    vec![
        counter("basalt_cache_hits_total", "Extents read from the block cache.", cache.hits),
        counter("basalt_cache_misses_total", "Extents that were not in the block cache.", cache.misses),
        counter("basalt_cache_fills_total", "Chunks of 64 KiB read from disk.", cache.fills),
        counter("basalt_cache_evictions_total", "Chunks of 64 KiB given up for others.", cache.evictions),
        counter("basalt_cache_corrupt_total", "Blocks that did not match their checksum.", cache.corrupt_blocks),
    ]
}

/// What the cores count of each store.
fn counted(observed: &Observed) -> Vec<MetricFamily> {
    let per_store = |name, help, value: fn(&StoreSnapshot) -> u64| {
        let metric =
            |store: &StoreState| metric_counter(&[label("share", &store.share)], value(&observed.counted(store)));
        counters(name, help, observed.stores.iter().map(metric))
    };
    vec![
        per_store("basalt_store_read_bytes_total", "Bytes read by clients.", |it| it.read_bytes),
        per_store("basalt_store_written_bytes_total", "Bytes written by clients.", |it| it.written_bytes),
        per_store("basalt_store_read_misses_total", "Reads that waited for the disk.", |it| it.read_misses),
        per_store("basalt_store_touches_total", "Calls that waited for pages of the ledger.", |it| it.touches),
        per_store("basalt_store_read_corrupt_total", "Reads that met damaged data.", |it| it.corrupt),
        per_store("basalt_store_checkpoints_total", "Checkpoints of the log into the ledger.", |it| it.checkpoints),
        per_store("basalt_store_moved_bytes_total", "Bytes moved to give segments back.", |it| it.moved_bytes),
        per_store(
            "basalt_store_unreadable_segments_total",
            "Segments that could not be read, and so not be given back.",
            |it| it.unreadable_segments,
        ),
        per_store("basalt_log_records_total", "Records of the log.", |it| it.log.records),
        per_store("basalt_log_payload_bytes_total", "Bytes of data in them.", |it| it.log.payload_bytes),
        per_store("basalt_log_frames_total", "Frames written to the log.", |it| it.log.frames),
        per_store("basalt_log_written_bytes_total", "Bytes written to the log.", |it| it.log.written_bytes),
        per_store("basalt_log_flushes_total", "Flushes of the log.", |it| it.log.flushes),
        per_store("basalt_log_flush_waiters_total", "Requests answered by them.", |it| it.log.flush_waiters),
        per_store("basalt_log_segments_total", "Segments of the log opened.", |it| it.log.segments),
    ]
}

fn of((program, procedure): (&str, &str)) -> Vec<LabelPair> {
    vec![label("program", program), label("procedure", procedure)]
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

fn counter(name: &str, help: &str, value: u64) -> MetricFamily {
    counters(name, help, [metric_counter(&[], value)])
}

fn gauge(name: &str, help: &str, value: u64) -> MetricFamily {
    gauges(name, help, [metric_gauge(&[], value)])
}

fn counters(name: &str, help: &str, metrics: impl IntoIterator<Item = Metric>) -> MetricFamily {
    family(name, help, MetricType::COUNTER, metrics.into_iter().collect())
}

fn gauges(name: &str, help: &str, metrics: impl IntoIterator<Item = Metric>) -> MetricFamily {
    family(name, help, MetricType::GAUGE, metrics.into_iter().collect())
}

fn family(name: &str, help: &str, kind: MetricType, metrics: Vec<Metric>) -> MetricFamily {
    let mut family = MetricFamily::default();
    family.set_name(name.to_owned());
    family.set_help(help.to_owned());
    family.set_field_type(kind);
    family.set_metric(metrics);
    family
}

fn metric_counter(labels: &[LabelPair], value: u64) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value as f64);
    let mut metric = Metric::from_label(labels.to_vec());
    metric.set_counter(counter);
    metric
}

fn metric_gauge(labels: &[LabelPair], value: u64) -> Metric {
    let mut gauge = Gauge::default();
    gauge.set_value(value as f64);
    let mut metric = Metric::from_label(labels.to_vec());
    metric.set_gauge(gauge);
    metric
}

/// Buckets are cumulative there; the one without a bound is made by the encoder.
fn metric_histogram(labels: &[LabelPair], row: &RowSnapshot) -> Metric {
    let mut below = 0;
    let mut buckets = Vec::new();
    for (at, &count) in row.buckets.iter().enumerate() {
        let Some(nanos) = bucket_nanos(at) else { break };
        below += count;
        let mut bucket = Bucket::default();
        bucket.set_cumulative_count(below);
        bucket.set_upper_bound(nanos as f64 / NANOS);
        buckets.push(bucket);
    }
    let mut histogram = Histogram::default();
    histogram.set_sample_count(row.buckets.iter().sum());
    histogram.set_sample_sum(row.nanos as f64 / NANOS);
    histogram.set_bucket(buckets);
    let mut metric = Metric::from_label(labels.to_vec());
    metric.set_histogram(histogram);
    metric
}

/// Nanoseconds of a second.
const NANOS: f64 = 1e9;

#[cfg(test)]
mod tests {
    use super::*;
    use shard::stats::Stats;

    fn observed() -> Observed {
        let stats = Stats::new(2);
        stats.rows[1].calls.add(3);
        stats.rows[1].bytes_in.add(300);
        for nanos in [100, 1000, u64::MAX] {
            stats.rows[1].duration.record(nanos);
        }
        stats.connections.rise(2);
        let mut cores = stats.snapshot();
        cores.stores = vec![StoreSnapshot { filesystem: 7, read_bytes: 11, ..StoreSnapshot::default() }];
        cores.cache.hits = 12;
        let store = StoreState {
            share: "/a".into(),
            filesystem: 7,
            store: "disk",
            failed: true,
            capacity_bytes: 1000,
            free_bytes: 400,
            live_bytes: 500,
            inodes: 3,
            segments: 2,
            corrupt: 0,
            replays: 0,
            commits: 7,
            checkpoints: 5,
            recent_bytes: 800,
            log_sequence: 99,
        };
        Observed {
            ready: true,
            started_secs: 5,
            names: vec![("nfs3", "NULL"), ("nfs3", "GETATTR")],
            cores,
            silent_cores: 0,
            refused: 4,
            stores: vec![store],
        }
    }

    #[test]
    fn every_counter_has_its_line() {
        let text = render(&observed());
        for line in [
            "basalt_calls_total{program=\"nfs3\",procedure=\"NULL\"} 0",
            "basalt_calls_total{program=\"nfs3\",procedure=\"GETATTR\"} 3",
            "basalt_call_bytes_total{program=\"nfs3\",procedure=\"GETATTR\"} 300",
            "basalt_connections 2",
            "basalt_connections_refused_total 4",
            "basalt_store_read_only{share=\"/a\"} 1",
            "basalt_store_free_bytes{share=\"/a\"} 400",
            "basalt_store_checkpoints_total{share=\"/a\"} 5",
            "basalt_store_recent_bytes{share=\"/a\"} 800",
            "basalt_store_read_bytes_total{share=\"/a\"} 11",
            "basalt_cache_hits_total 12",
            "# TYPE basalt_calls_total counter",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in:\n{text}");
        }
    }

    #[test]
    fn a_histogram_is_cumulative_and_ends_with_all_calls() {
        let text = render(&observed());
        let of = |bound: &str| {
            let start = format!(
                "basalt_call_duration_seconds_bucket{{program=\"nfs3\",procedure=\"GETATTR\",le=\"{bound}\"}} "
            );
            text.lines().find_map(|line| line.strip_prefix(&start)).map(str::to_owned)
        };
        assert_eq!(of("0.000000256").as_deref(), Some("1"));
        assert_eq!(of("0.000001024").as_deref(), Some("2"));
        assert_eq!(of("+Inf").as_deref(), Some("3"));
        assert!(!text.contains("basalt_call_duration_seconds_bucket{program=\"nfs3\",procedure=\"NULL\""));
    }

    #[test]
    fn a_server_that_starts_has_metrics_without_stores() {
        let starting = Observed { stores: Vec::new(), ..observed() };
        assert!(!render(&starting).contains("basalt_store"));
    }
}
