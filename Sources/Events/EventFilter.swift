/// Which lines of events somebody wants: of those about an instance only those about some, and all others.
package struct EventFilter: Sendable {
    private let instances: Set<ArraySlice<UInt8>>
    private static let title = Array("\"instance\":\"".utf8)

    /// Creates one of instances, `api/2`.
    package init(instances: [String]) { self.instances = Set(instances.map { ArraySlice($0.utf8) }) }

    /// Whether a line of `EventLine.text` is wanted. It is not decoded: a quotation mark in a text has a backslash before it, so that
    /// the key, which no payload has, stands where it stands only as a key.
    package func accepts(_ line: ArraySlice<UInt8>) -> Bool {
        guard let begin = Self.instance(in: line) else { return true }
        let rest = line[begin...]
        return instances.contains(rest.prefix { $0 != UInt8(ascii: "\"") })
    }

    /// Where the name of the instance begins.
    private static func instance(in line: ArraySlice<UInt8>) -> Int? {
        var place = line.startIndex
        while let found = line[place...].firstIndex(of: title[1]) {
            place = found + 1
            guard found > line.startIndex, line[found - 1] == title[0], line[found...].starts(with: title.dropFirst())
            else { continue }
            return found + title.count - 1
        }
        return nil
    }
}
