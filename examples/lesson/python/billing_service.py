"""The third service: todo-api calls it when a task is completed."""

import logging
import os
import time
from typing import Optional

from fastapi import FastAPI
from pydantic import BaseModel

logging.basicConfig(level=logging.INFO, format="%(levelname)s:     %(message)s")
logger = logging.getLogger(__name__)

app = FastAPI()


class Charge(BaseModel):
    task_id: str
    title: Optional[str] = None


@app.post("/charge")
def charge(request: Charge):
    # BILLING_DELAY (seconds) plays a billing system that is having a slow day.
    time.sleep(float(os.getenv("BILLING_DELAY", "0")))
    logger.info("Charged: %s", request.title)
    return {"status": "charged", "task_id": request.task_id}


@app.get("/health")
async def health():
    return {"status": "healthy"}
