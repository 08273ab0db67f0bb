/// Where the lines of an instance are: `DIRECTORY/api/2.log`, and the rotated ones, newest first, in `2.log.1`, ….
/// Beside them, in `balancer.log`, are those that the balancer writes about a service's sessions; their name is
/// `api/balancer`.
package enum LogPath {
    /// The path of the current file of an instance named like `api/2`; nil if it is no such name. What is checked here is
    /// that no name, whoever sent it, leads out of the directory.
    package static func current(_ instance: String, in directory: String) -> String? {
        guard let (service, file) = parts(of: instance) else { return nil }
        return "\(directory)/\(service)/\(file).log"
    }

    /// The name under which the sessions of a service are logged: `api/balancer`.
    package static func sessions(of service: String) -> String { "\(service)/\(balancer)" }

    /// Whether a name is that of a service's sessions, and not of an instance.
    package static func isSessions(_ name: String) -> Bool { name.hasSuffix("/\(balancer)") }

    /// No instance is called so: theirs are numbers.
    private static let balancer = "balancer"

    /// The service of a name, and its file without `.log`.
    static func parts(of instance: String) -> (service: String, file: String)? {
        let fields = instance.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard fields.count == 2, isService(fields[0]), order(fields[1]) != nil else { return nil }
        return (String(decoding: fields[0], as: UTF8.self), String(decoding: fields[1], as: UTF8.self))
    }

    /// Where a file comes among those of its service: by number, the sessions last; nil: it is none.
    static func order(_ file: some Collection<UInt8>) -> Int? {
        file.elementsEqual(balancer.utf8) ? .max : number(file)
    }

    /// Whether it is `[a-z][a-z0-9-]{0,62}`.
    static func isService(_ name: some Collection<UInt8>) -> Bool {
        guard let first = name.first, (0x61...0x7a).contains(first), name.count <= 63 else { return false }
        return name.allSatisfy { (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2d }
    }

    /// A number from 1 to 999,999 without leading zeros.
    static func number(_ text: some Collection<UInt8>) -> Int? {
        guard (1...6).contains(text.count), text.first != 0x30, text.allSatisfy({ (0x30...0x39).contains($0) }) else {
            return nil
        }
        return text.reduce(0) { $0 * 10 + Int($1 - 0x30) }
    }
}
