/// Inputs to begin with: a rain and a sale, from creation to the end, changed a little.
enum Seeds {
    static let all: [[UInt8]] = {
        let rain: [UInt8] = [0, 0, 0, 0, 0, 9, 5, 2, 1, 1]
        let sale: [UInt8] = [2, 0, 0, 0, 9, 5, 2, 1]
        let grabs: [UInt8] = [32, 1, 1, 0, 0, 32, 2, 2, 0, 0, 32, 3, 1, 0, 0]
        let orders: [UInt8] = [34, 1, 1, 0, 0, 34, 2, 2, 1, 0, 110, 1, 1, 0, 0, 130, 2, 2, 0, 1]
        let end: [UInt8] = [88, 0, 0, 0, 0, 90, 0, 0, 0, 0, 160, 0, 0, 0, 0, 200]
        var seeds: [[UInt8]] = []
        for mutations in 0..<UInt8(3) {
            for snapshots in 0..<UInt8(2) {
                for (index, body) in [rain + grabs, sale + orders, rain + sale + grabs + orders]
                    .enumerated()
                {
                    let count = UInt8(4 + index * 3)
                    seeds.append([mutations, snapshots, count] + body + end)
                    for place in 0..<UInt8(3) {
                        seeds.append(
                            [mutations, snapshots, count] + body + end + [
                                place * 5, 0, 3, 40, 0, 3,
                            ])
                    }
                }
            }
        }
        return seeds
    }()
}
