/// The parameters of a query, each taken once by its name; what nobody takes is an error, not ignored.
struct QueryParameters {
    private var values: [(name: String, value: Substring)] = []

    init(_ query: some StringProtocol) throws(RouteFailure) {
        for part in String(query).split(separator: "&") {
            let pieces = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = pieces.first.flatMap({ PercentEncoding.decode($0) }) else {
                throw RouteFailure(400, "usage", "the query is not well encoded")
            }
            guard !values.contains(where: { $0.name == name }) else {
                throw RouteFailure(400, "usage", "the parameter \(name) is given twice")
            }
            values.append((name, pieces.count > 1 ? pieces[1] : ""))
        }
    }

    /// The value as it came; nil if the parameter is not there.
    mutating func takeRaw(_ name: String) -> Substring? {
        guard let index = values.firstIndex(where: { $0.name == name }) else { return nil }
        return values.remove(at: index).value
    }

    /// The decoded value; nil if the parameter is not there.
    mutating func take(_ name: String) throws(RouteFailure) -> String? {
        guard let raw = takeRaw(name) else { return nil }
        guard let value = PercentEncoding.decode(raw) else {
            throw RouteFailure(400, "usage", "the value of \(name) is not well encoded")
        }
        return value
    }

    /// `true` or `1`, `false` or `0`.
    mutating func takeBool(_ name: String) throws(RouteFailure) -> Bool? {
        switch try take(name) {
        case nil: return nil
        case "true", "1": return true
        case "false", "0": return false
        case let other?:
            throw RouteFailure(400, "usage", "\(name) is \"\(other)\"; it takes true or false")
        }
    }

    /// `wait` and `timeout`.
    mutating func takeWaitOptions() throws(RouteFailure) -> ControlRoute.WaitOptions {
        let wait = try takeBool("wait") ?? false
        guard let text = try take("timeout") else { return ControlRoute.WaitOptions(wait: wait) }
        guard let seconds = Double(text), seconds > 0, seconds <= 366 * 86400 else {
            throw RouteFailure(
                400, "usage", "timeout is \"\(text)\"; it takes a number of seconds above 0, at most a year")
        }
        return ControlRoute.WaitOptions(wait: wait, timeout: .milliseconds(Int64((seconds * 1000).rounded(.up))))
    }

    /// Throws if a parameter is left that nobody took.
    func refuseOthers() throws(RouteFailure) {
        guard let other = values.first else { return }
        throw RouteFailure(400, "usage", "the parameter \(other.name) is not known here")
    }
}
