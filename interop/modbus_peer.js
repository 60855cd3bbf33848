// The other end of interop/modbus_peers.py: npm's modbus-serial as a server, then as a client.
// node modbus_peer.js FOLDER-WITH-node_modules PORT-OF-TCP PORT-OF-RTU-OVER-TCP
"use strict";
const path = require("path");
const [, , folder, tcpPort, rtuPort] = process.argv;
const ModbusRTU = require(path.join(folder, "node_modules", "modbus-serial"));

const registers = Array.from({ length: 100 }, (_, address) => address);
const coils = Array.from({ length: 100 }, (_, address) => address % 2 === 1);
const vector = {
    getInputRegister: (address) => address,
    getHoldingRegister: (address) => registers[address],
    getMultipleHoldingRegisters: (address, count) => registers.slice(address, address + count),
    getCoil: (address) => coils[address],
    getDiscreteInput: (address) => address % 3 === 0,
    setRegister: (address, value) => { registers[address] = value; },
    setCoil: (address, value) => { coils[address] = value; },
    readDeviceIdentification: () => ({ 0x00: "second", 0x01: "implementation", 0x02: "8" }),
};
const server = new ModbusRTU.ServerTCP(vector, { host: "127.0.0.1", port: 0, debug: false, unitID: 255 });

// Its stream port does not know where the reply to a mask write ends.
async function use(client, masks) {
    client.setID(3);
    client.setTimeout(2000);
    await client.writeRegisters(10, [0x1234, 0x5678]);
    await client.writeRegister(12, 77);
    await client.writeCoils(4, [true, true, false]);
    if (masks) await client.maskWriteRegister(13, 0x00f2, 0x0025);
    return {
        holding: (await client.readHoldingRegisters(9, 5)).data,
        input: (await client.readInputRegisters(0, 3)).data,
        coils: (await client.readCoils(3, 5)).data.slice(0, 5),
        contacts: (await client.readDiscreteInputs(0, 4)).data.slice(0, 4),
        refused: await client.readHoldingRegisters(90, 1).then(() => 0, (error) => error.modbusCode),
    };
}

server.on("initialized", async () => {
    console.log(JSON.stringify({ port: server._server.address().port }));
    const results = {};
    for (const [name, port, connect] of [["tcp", tcpPort, "connectTCP"], ["rtu-over-tcp", rtuPort, "connectTelnet"]]) {
        const client = new ModbusRTU();
        await client[connect]("127.0.0.1", { port: Number(port) });
        results[name] = await use(client, name === "tcp");
        client.close(() => {});
    }
    console.log(JSON.stringify(results));
});
