/// Where the lines of an instance are: `DIRECTORY/api/2.log`, and the rotated ones, newest first, in `2.log.1`, ….
package enum LogPath {
    /// The path of the current file of an instance named like `api/2`; nil if it is no such name. What is checked here is
    /// that no name, whoever sent it, leads out of the directory.
    package static func current(_ instance: String, in directory: String) -> String? {
        guard let (service, number) = parts(of: instance) else { return nil }
        return "\(directory)/\(service)/\(number).log"
    }

    /// The service and the number of an instance's name.
    static func parts(of instance: String) -> (service: String, number: Int)? {
        let fields = instance.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        guard fields.count == 2, isService(fields[0]), let number = number(fields[1]) else { return nil }
        return (String(decoding: fields[0], as: UTF8.self), number)
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
