// Checks that print a line each.
let failed = 0;

export async function check(name, run) {
  try {
    const said = await run();
    console.log(`ok   ${name}${said ? `: ${said}` : ''}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}: ${error.stack ?? error}`);
  }
}

// Ends the program, and says by its status whether all went well.
export function done(alsoFailed = false) {
  process.exit(failed || alsoFailed ? 1 : 0);
}
