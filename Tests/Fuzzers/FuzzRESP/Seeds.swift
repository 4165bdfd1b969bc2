/// Commands of every kind, and what nearly is one.
enum Seeds {
    static let all: [[UInt8]] =
        ([
            "RAIN.GRAB r1 42\r\n", "RAIN.GRAB r1 42 req-1 REGION hangzhou\r\nPING\r\n",
            "SET \"a\\x41\\n\" 'b\\'c'\r\n", "\r\n\r\nPING\n",
            "RAIN.CREATE r1 AMOUNT 1000 COUNT 10 KIND luck MIN 1 MAX 500 OPENS 5 CLOSES 9 LIMIT 2"
                + " SLICES 4 REGIONS a=1,b=2 DURABILITY memory SEED "
                + String(repeating: "0f", count: 32) + "\r\n",
            "STOCK.CREATE s UNITS 5 HOLD 60 PRICE 100 SLICES auto\r\nSTOCK.RESERVE s 1 1 r\r\n",
            "RAIN.ALTER r1 a LIMIT 5 OPENS 1\r\nRAIN.LIST CURSOR 0 COUNT 5 STATE open\r\n",
            "STOCK.REFILL s 5 r\r\nORDER.PAY 0000000000000 p 100\r\nSHARDS\r\n",
            "ORDER.REFUND 0000000000000 q 100 RESTOCK 1\r\nSTOCK.ORDERS s 1 REGION a\r\n",
            "*2\r\n$4\r\nPING\r\n$0\r\n\r\n", "*-1\r\n*0\r\n*1\r\n$4\r\nPING\r\n",
            "*3\r\n$9\r\nrain.grab\r\n$2\r\nr1\r\n$20\r\n18446744073709551615\r\n",
            "*1\r\n$99999999999\r\n", "*99999999999\r\n", "*1\r\n$1\r\naX", "*1\r\n!",
        ] as [String]).flatMap { text in
            [[0, 3, 0] + Array(text.utf8), [1, 9, 0] + Array(text.utf8)]
        }
}
