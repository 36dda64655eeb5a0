"""The third service: todo-api calls it when a task is completed."""

import logging
import os
import time
from typing import Optional

from fastapi import FastAPI
from pydantic import BaseModel

logger = logging.getLogger("uvicorn")  # uvicorn has set it up to print INFO

app = FastAPI()


class Charge(BaseModel):
    task_id: str
    title: Optional[str] = None


@app.post("/charge")
def charge(request: Charge):
    # BILLING_DELAY plays a billing system that is having a slow day: 2s.
    time.sleep(float(os.getenv("BILLING_DELAY", "0s").rstrip("s")))
    logger.info("Charged: %s", request.title)
    return {"status": "charged", "task_id": request.task_id}


@app.get("/health")
async def health():
    return {"status": "healthy"}
