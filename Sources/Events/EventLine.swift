import FoundationEssentials

/// An event as a line of JSON. The number comes first, so that it is found without reading the rest.
package enum EventLine {
    /// The most bytes of one; nothing that supd tells comes near.
    package static let limit = 64 << 10

    private static let prefix = Array("{\"number\":".utf8)

    /// The line, with its end; nil if it is too long or has no JSON.
    package static func text(_ event: EventRecord) -> [UInt8]? {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.withoutEscapingSlashes, .sortedKeys]
        guard let data = try? encoder.encode(Unnumbered(event: event)), data.count > 2, data.count < limit else {
            return nil
        }
        return prefix + Array(String(event.number).utf8) + [UInt8(ascii: ",")] + data.dropFirst()
            + [UInt8(ascii: "\n")]
    }

    /// The line for a hook: it begins with what it is run for.
    package static func text(_ event: EventRecord, on occasion: String) -> [UInt8]? {
        text(event).map { Array("{\"on\":\"\(occasion)\",".utf8) + $0.dropFirst() }
    }

    /// The number of a line; nil: it is no event's.
    package static func number(of line: some Collection<UInt8>) -> UInt64? {
        guard line.starts(with: prefix) else { return nil }
        let digits = line.dropFirst(prefix.count).prefix { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        guard digits.count <= 20 else { return nil }
        return UInt64(String(decoding: digits, as: UTF8.self))
    }

    /// The event of a line, without or with its end; nil: it cannot be read.
    package static func event(_ line: some Collection<UInt8>) -> EventRecord? {
        try? JSONDecoder().decode(EventRecord.self, from: Data(line))
    }

    /// All of an event but its number, which is put before.
    private struct Unnumbered: Encodable {
        var event: EventRecord

        private enum CodingKeys: String, CodingKey {
            case at, kind, service, instance
        }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(event.at, forKey: .at)
            try container.encodeIfPresent(event.service, forKey: .service)
            try container.encodeIfPresent(event.instance, forKey: .instance)
            try container.encode(event.kind.name, forKey: .kind)
            try event.kind.encodePayload(to: encoder)
        }
    }
}
