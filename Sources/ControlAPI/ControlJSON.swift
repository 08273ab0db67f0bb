import FoundationEssentials

/// How JSON is written and read on the control socket: keys in alphabetical order, so that answers can be compared.
package enum ControlJSON {
    /// The text of a value; nil if it has none (a number that is not finite).
    package static func encode(_ value: some Encodable) -> [UInt8]? {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(value) else { return nil }
        return Array(data)
    }

    /// A value from its text; nil if it is not one.
    package static func decode<Value: Decodable>(_ type: Value.Type, from text: some Collection<UInt8>) -> Value? {
        try? JSONDecoder().decode(type, from: Data(text))
    }
}
