/// Durations as the manifest writes them: `500ms`, `10s`, `5m`, `1h`; a number alone is seconds.
func parseDuration(_ text: String) -> Duration? {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    guard let number = Int64(digits), number > 0, number <= 31_536_000_000 else { return nil }
    let milliseconds: Int64
    switch text.dropFirst(digits.count) {
    case "ms": milliseconds = 1
    case "s", "": milliseconds = 1000
    case "m": milliseconds = 60_000
    case "h": milliseconds = 3_600_000
    default: return nil
    }
    // At most a year, as the API allows.
    let (product, overflow) = number.multipliedReportingOverflow(by: milliseconds)
    return overflow || product > 31_536_000_000 ? nil : .milliseconds(product)
}
