/// Ports of the range that were in use when an instance was to start on them, until they are told of: of a whole range in
/// use, every instance tries port after port, and one line says it better than one for each.
package struct SkippedPorts: Sendable, Hashable {
    private var ports: Set<UInt16> = []

    /// None.
    package init() {}

    /// A port was in use.
    package mutating func insert(_ port: UInt16) { ports.insert(port) }

    /// The line about those since the last one; nil if there were none.
    package mutating func takeLine() -> String? {
        guard !ports.isEmpty else { return nil }
        defer { ports = [] }
        var ranges: [ClosedRange<UInt16>] = []
        for port in ports.sorted() {
            if let last = ranges.last, port - last.upperBound == 1 {
                ranges[ranges.count - 1] = last.lowerBound...port
            } else {
                ranges.append(port...port)
            }
        }
        // A line of the log has its bounds, and nobody reads more.
        let shown = ranges.prefix(20).map { $0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)" }
        let more = ranges.count > shown.count ? ", …" : ""
        let what = ports.count == 1 ? "port" : "ports"
        let verb = ports.count == 1 ? "is" : "are"
        return "\(what) \(shown.joined(separator: ", "))\(more) of portRange \(verb) in use; skipped"
    }
}
