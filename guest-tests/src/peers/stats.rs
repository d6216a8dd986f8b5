//! What testpmd says every second of its ports.

/// What of a port is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Frames received.
    Received,
    /// Frames sent.
    Sent,
}

/// Seconds that are left out after the first with frames: caches, clocks and the scheduler settle.
const SETTLE: usize = 1;

/// A port's mean frames per second over `seconds`, once it has had so many after it had settled.
pub(super) fn settled(text: &str, port: u16, count: Count, seconds: usize) -> Option<f64> {
    let field = match count {
        Count::Received => "Rx-pps:",
        Count::Sent => "Tx-pps:",
    };
    let blocks = text.split("NIC statistics for port ").skip(1);
    let of_port = blocks.filter(|block| block.split_whitespace().next() == Some(&port.to_string()));
    let rate = |block: &str| -> Option<f64> {
        let (_, rest) = block.split_once(field)?;
        // A number at the end of the text may be half of one.
        let (number, _) = rest.trim_start().split_once(char::is_whitespace)?;
        number.parse().ok()
    };
    let rates = of_port.filter_map(rate).skip_while(|rate| *rate < 1000.0);
    let rates: Vec<f64> = rates.skip(1 + SETTLE).take(seconds).collect();
    let whole = rates.len() == seconds;
    whole.then(|| rates.iter().sum::<f64>() / u32::try_from(seconds).map_or(f64::NAN, f64::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_found_by_port() {
        let block = |port, rate| {
            format!(
                "  ### NIC statistics for port {port}  ###\n  Throughput (since last show)\n  \
                 Rx-pps:      {rate}          Rx-bps:   0\n  Tx-pps:   7          Tx-bps:  0\n"
            )
        };
        let mut text = String::new();
        for rate in [0, 5000, 9000, 4000, 6000] {
            text += &block(0, rate);
            text += &block(2, 1);
        }
        assert_eq!(settled(&text, 0, Count::Received, 2), Some(5000.0));
        assert_eq!(settled(&text, 0, Count::Received, 3), None);
        assert_eq!(settled(&text, 2, Count::Received, 1), None);
        assert_eq!(settled(&text, 0, Count::Sent, 1), None);
    }
}
