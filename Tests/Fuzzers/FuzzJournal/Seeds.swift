/// Inputs to begin with: journals of some records, and damage here and there.
enum Seeds {
    static let all: [[UInt8]] = {
        var seeds: [[UInt8]] = []
        // A batch of entries of every kind, then a seal.
        for kind in 0..<UInt8(19) {
            var seed: [UInt8] = [0, 0, 1, 0, 1, 4, 0, 2]
            for _ in 0..<2 { seed += [0, 0, kind, 16, 7] }
            seeds.append(seed + [8, 3, 1, 8, 5, 200, 1])
        }
        // Two segments of one lane.
        seeds.append([
            0, 0, 1, 0, 0, 3, 0, 1, 0, 0, 8, 16, 1, 8, 3, 0, 8, 1, 0, 0, 2, 0, 1, 0, 0, 8, 16, 1, 8,
            3,
            1, 8, 1,
        ])
        for step in 0..<UInt8(12) {
            seeds.append([2, step & 1, 1, step &* 21, step, 3, 9, 9, 9])
            seeds.append([2, step & 1, 0, step &* 17, 16 &+ step % 4, step, step, 17, 1])
            seeds.append([3, step & 1, 4, step, 0, step, 40, 0, 1, 2, 3])
        }
        return seeds
    }()
}
