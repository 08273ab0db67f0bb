import Foundation
import Manifest
import Platform
import TestSupport
import Testing

@testable import Supervisor

@Suite("The file of what is scaled")
struct ScaleFileTests {
    private let overrides = [
        ScaleOverride(service: "api", replicas: 5, manifest: 2),
        ScaleOverride(service: "web", replicas: 0, manifest: 1),
    ]

    @Test("What is written is read, by supd alone; without overrides there is no file")
    func keeping() throws {
        let directory = try TemporaryDirectory()
        let file = ScaleFile(stateDirectory: directory.file("state"))
        #expect(try file.read().isEmpty)
        try file.write([])
        try file.write(overrides)
        #expect(try file.read() == overrides)
        let mode = try FileManager.default.attributesOfItem(atPath: file.path)[.posixPermissions]
        #expect(mode as? Int == 0o600)
        try file.write([])
        #expect(try file.read().isEmpty)
        #expect(!FileManager.default.fileExists(atPath: file.path))
    }

    @Test(
        "One that is torn, of another version, or says what cannot be, is told and ignored",
        arguments: [
            ("", "not what supd has written"), ("{\"version\":1,\"serv", "not what supd has written"),
            ("{\"version\":2,\"services\":[]}", "another version of supd"),
            ("{\"version\":1,\"services\":[{\"service\":\"a\",\"replicas\":1001,\"manifest\":1}]}", "cannot be"),
            ("{\"version\":1,\"services\":[{\"service\":\"a\",\"replicas\":2,\"manifest\":-1}]}", "cannot be"),
            (
                "{\"version\":1,\"services\":[{\"service\":\"a\",\"replicas\":2,\"manifest\":1},"
                    + "{\"service\":\"a\",\"replicas\":3,\"manifest\":1}]}", "cannot be"
            ),
        ])
    func broken(text: String, reason: String) throws {
        let directory = try TemporaryDirectory()
        let file = ScaleFile(stateDirectory: directory.path)
        _ = try directory.write("scaling.json", text)
        let failure = #expect(throws: ScaleFile.Unusable.self) { try file.read() }
        #expect(failure?.text.contains(reason) == true, "\(failure?.text ?? "")")
        #expect(failure?.text.contains(file.path) == true)
    }

    @Test("One that is too long is not read")
    func long() throws {
        let directory = try TemporaryDirectory()
        _ = try directory.write("scaling.json", String(repeating: " ", count: 2 << 20))
        #expect(throws: ScaleFile.Unusable.self) { try ScaleFile(stateDirectory: directory.path).read() }
    }

    @Test("What cannot be written is an error, and leaves what was there")
    func unwritable() throws {
        let directory = try TemporaryDirectory()
        let file = ScaleFile(stateDirectory: directory.path)
        try file.write(overrides)
        // Where the new text is put first there is a folder.
        try FileManager.default.createDirectory(atPath: "\(file.path).new", withIntermediateDirectories: false)
        #expect(throws: SystemError.self) { try file.write([overrides[0]]) }
        #expect(try file.read() == overrides)
    }
}
