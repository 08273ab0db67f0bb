import FoundationEssentials
import Platform

/// What becomes of `/healthz`.
enum Sickness: String, Sendable {
    /// It says that all is well.
    case no
    /// It answers 500.
    case error
    /// It takes a minute.
    case hang
}

/// What the service answers.
struct Routes: Sendable {
    /// Who answers.
    let identity: Identity
    /// Where the addresses of other services come from.
    let environment: [String: String]
    /// Whether each request is a line of output.
    let isLogged: Bool
    /// What becomes of `/healthz`; shared by all connections.
    let sickness = Lock(Sickness.no)

    /// The answer to one request.
    func answer(_ request: HTTPRequest) -> HTTPResponse {
        let response = route(request)
        if isLogged { printLine("\(request.method) \(request.path) \(response.status)") }
        return response
    }

    private func route(_ request: HTTPRequest) -> HTTPResponse {
        guard ["GET", "HEAD"].contains(request.method) else { return refusal(405, "only GET and HEAD are served") }
        switch request.path {
        case "/": return json(200, Greeting(identity))
        case "/healthz": return health()
        case "/sick": return fallSick(request.query["how"])
        case "/work": return work(request.query["ms"] ?? "100")
        case "/call": return call(request.query["service"])
        case "/crash":
            printErrorLine("crashing, as asked for")
            exitProcess(1)
        default:
            return refusal(
                404,
                "no such page; there are /, /healthz, /work?ms=N, /call?service=NAME /sick?how=error|hang|no and /crash"
            )
        }
    }

    /// As `/sick` has asked for.
    private func health() -> HTTPResponse {
        switch sickness.withLock({ $0 }) {
        case .no: break
        case .error: return refusal(500, "sick, as asked for")
        case .hang: pause(for: .seconds(60))
        }
        return HTTPResponse(type: "text/plain", body: "ok\n")
    }

    private func fallSick(_ text: String?) -> HTTPResponse {
        guard let how = Sickness(rawValue: text ?? "") else { return refusal(400, "how must be error, hang or no") }
        sickness.withLock { $0 = how }
        return json(200, Greeting(identity))
    }

    /// An answer that takes its time.
    private func work(_ text: String) -> HTTPResponse {
        guard let milliseconds = Int(text), (0...60_000).contains(milliseconds) else {
            return refusal(400, "ms must be a number from 0 to 60000")
        }
        pause(for: .milliseconds(milliseconds))
        return json(200, Greeting(identity))
    }

    /// Asks another service, found by its injected address, and shows what it answered.
    private func call(_ name: String?) -> HTTPResponse {
        let variable: String
        if let name {
            variable = name.uppercased().replacing("-", with: "_") + "_ADDRESS"
        } else {
            guard let first = environment.keys.filter({ $0.hasSuffix("_ADDRESS") }).sorted().first else {
                return refusal(502, "no other service is known: no variable ends in _ADDRESS")
            }
            variable = first
        }
        guard let address = environment[variable] else { return refusal(502, "\(variable) is not set") }
        do {
            let answer = try fetch(path: "/", from: address)
            return json(answer.status == 200 ? 200 : 502, Relay(identity, address, answer))
        } catch {
            return refusal(502, "cannot call \(address): \(error)")
        }
    }

    private func refusal(_ status: Int, _ message: String) -> HTTPResponse { json(status, ["error": message]) }

    private func json(_ status: Int, _ value: some Encodable) -> HTTPResponse {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(value) else { return HTTPResponse(status: 500, body: "{}\n") }
        return HTTPResponse(status: status, body: String(decoding: data, as: UTF8.self) + "\n")
    }
}

/// The answer of `/` and `/work`.
private struct Greeting: Codable {
    var service: String
    var instance: Int
    var pid: Int32

    init(_ identity: Identity) {
        service = identity.service
        instance = identity.instance
        pid = identity.pid
    }
}

/// The answer of `/call`.
private struct Relay: Encodable {
    var service: String
    var instance: Int
    var pid: Int32
    var calledAddress: String
    var calledStatus: Int
    var answer: Greeting?

    init(_ identity: Identity, _ address: String, _ reply: (status: Int, body: String)) {
        service = identity.service
        instance = identity.instance
        pid = identity.pid
        calledAddress = address
        calledStatus = reply.status
        answer = try? JSONDecoder().decode(Greeting.self, from: Data(reply.body.utf8))
    }
}
