/// How many instances a service is to have.
package struct ScaleWish: Sendable, Hashable {
    /// A service, or a glob.
    package var name: String
    /// The number of instances.
    package var replicas: Int

    /// Creates a wish.
    package init(name: String, replicas: Int) {
        self.name = name
        self.replicas = replicas
    }

    /// A number as a user may write it: at most nine decimal digits, the first of several not 0, which others read as
    /// octal.
    package static func count(_ text: some StringProtocol) -> Int? {
        let isNumber = text.utf8.allSatisfy { (0x30...0x39).contains($0) }
        guard isNumber, (1...9).contains(text.utf8.count), text.utf8.count == 1 || text.utf8.first != 0x30 else {
            return nil
        }
        return Int(text)
    }

    /// What to write in place of a number that begins with 0; nil: it does not, or is none.
    package static func withoutZeros(_ text: some StringProtocol) -> String? {
        guard text.utf8.count > 1, text.utf8.first == 0x30 else { return nil }
        let shorter = String(text.drop { $0 == "0" })
        return count(shorter.isEmpty ? "0" : shorter).map(String.init)
    }

    /// `5,2` of the query.
    static func counts(_ text: String?) throws(RouteFailure) -> [Int] {
        guard let text else { throw RouteFailure(400, "usage", "how many? say ?replicas=5") }
        var counts: [Int] = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            guard let number = count(part) else {
                let hint = withoutZeros(part).map { "; did you mean \($0)?" } ?? ""
                throw RouteFailure(
                    400, "usage", "replicas takes whole numbers, one for each name, not \"\(part)\"\(hint)")
            }
            counts.append(number)
        }
        return counts
    }

    /// Each name with its number.
    static func pairs(_ names: [String], _ counts: [Int]) throws(RouteFailure) -> [ScaleWish] {
        guard names.count == counts.count else {
            throw RouteFailure(
                400, "usage", "replicas has \(counts.count) numbers for \(names.count) names, expected one for each")
        }
        return zip(names, counts).map(ScaleWish.init)
    }

    static func text(_ wishes: [ScaleWish]) -> String { wishes.map { String($0.replicas) }.joined(separator: ",") }
}
