import FoundationEssentials

/// The body of `limit`: `{"nofile": "4096", "core": 0}`. What the values mean, the daemon says.
enum LimitBody {
    /// Text, or a whole number, which is taken as its text.
    private struct Value: Decodable {
        let text: String

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let number = try? container.decode(UInt64.self) {
                text = String(number)
            } else {
                text = try container.decode(String.self)
            }
        }
    }

    static func decode(_ body: [UInt8]) throws(RouteFailure) -> [String: String] {
        guard let values = try? JSONDecoder().decode([String: Value].self, from: Data(body)), !values.isEmpty else {
            throw RouteFailure(
                400, "usage", "the body must be an object of limits with text or whole numbers: {\"nofile\": \"4096\"}")
        }
        return values.mapValues(\.text)
    }

    static func encode(_ limits: [String: String]) -> [UInt8] { ControlJSON.encode(limits) ?? [] }
}
