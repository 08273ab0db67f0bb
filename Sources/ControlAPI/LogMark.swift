/// The first line that a reader of logs has of an instance, by which it asks for those before it: each line of `GET /v1/logs`
/// says its `place`.
package struct LogMark: Sendable, Hashable {
    /// The instance, as `api/2`.
    package var instance: String
    /// The number of the file that the line is in.
    package var file: UInt64
    /// The bytes before it in there.
    package var offset: Int
    /// The line's `time`, by which it is known that this is still the file.
    package var time: String

    /// So many instances one asks about.
    package static let most = 16

    /// Creates a mark.
    package init(instance: String, file: UInt64, offset: Int, time: String) {
        self.instance = instance
        self.file = file
        self.offset = offset
        self.time = time
    }

    /// As a line says its place: `FILE.OFFSET`.
    package static func place(file: UInt64, offset: Int) -> String { "\(file).\(offset)" }

    /// `INSTANCE@FILE.OFFSET@TIME`.
    package var text: String { "\(instance)@\(Self.place(file: file, offset: offset))@\(time)" }

    /// Reads `text`; nil if it is none.
    package init?(_ text: some StringProtocol) {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count == 3, (3...80).contains(parts[0].utf8.count), (20...35).contains(parts[2].utf8.count) else {
            return nil
        }
        let numbers = parts[1].split(separator: ".", omittingEmptySubsequences: false)
        guard numbers.count == 2, numbers.allSatisfy({ $0.utf8.allSatisfy { (0x30...0x39).contains($0) } }),
            let file = UInt64(numbers[0]), let offset = Int(numbers[1])
        else { return nil }
        self.init(instance: String(parts[0]), file: file, offset: offset, time: String(parts[2]))
    }
}
